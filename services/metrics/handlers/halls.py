"""Halls: co-location and idle windows."""

from datetime import date
from typing import Any

from services.metrics.domain import co_location as halls
from services.metrics.domain import idle_windows as idle
from services.metrics.store import matters, snapshots
from shared.events.progress import PresenceState, RegistryState, WindowState
from shared.postgres import Connection


async def co_location(db: Connection, as_of: date) -> dict[str, Any]:
    """The answer of ``/v1/co-location``."""
    return halls.co_location(await _registry(db), await _presence(db), as_of)


async def idle_windows(db: Connection, since: date | None, as_of: date) -> dict[str, Any]:
    """The answer of ``/v1/idle-windows``."""
    located = idle.co_located_pairs(await _registry(db), await _presence(db), as_of)
    places = [(pair.county, pair.service.value, pair.company) for pair in located]
    last = await matters.last_moved(db, "installation", places, as_of)
    last_steps = {pair: day for pair in located if (day := last.get((pair.county, pair.service.value, pair.company))) is not None}
    first = None if since is None else idle.month_of(since)
    windows = [WindowState.model_validate(state) for state in await snapshots.of_months(db, "window", first, idle.month_of(as_of))]
    return idle.idle_windows(located, last_steps, windows, since, as_of)


async def _registry(db: Connection) -> list[RegistryState]:
    return [RegistryState.model_validate(state) for state in await snapshots.states(db, "registry")]


async def _presence(db: Connection) -> list[PresenceState]:
    return [PresenceState.model_validate(state) for state in await snapshots.states(db, "presence")]
