"""How reports of a company's presence in a hall merge: one register a subject and ``effective_on`` (CONTRACT §2)."""

from collections.abc import Hashable, Iterable
from typing import Any

from services.utilities.domain.registers import Event, State, winners
from services.utilities.domain.wire import PresenceData

Known = State[PresenceData]


def merge(old: Iterable[Event[PresenceData]], new: Iterable[Event[PresenceData]]) -> Known:
    """The state after both: for each date the report recorded last."""
    return winners([*old, *new], _registers)


def _registers(data: PresenceData) -> tuple[Hashable, ...]:
    return (data.effective_on,)


def describe(state: Known) -> dict[str, Any]:
    """The whole timeline, by rising date, as :class:`shared.events.progress.PresenceState` has it in JSON."""
    first = state[0].data
    by_date = sorted((event.data for event in state), key=lambda data: data.effective_on)
    return {
        "county": first.county,
        "company": first.company,
        "service": first.service,
        "periods": [{"effective_on": d.effective_on.isoformat(), "level": d.level, "handles": list(d.handles)} for d in by_date],
    }
