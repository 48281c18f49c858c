"""The registry: importing it, and knowing by it who is entitled."""

import asyncio
import time
from datetime import datetime
from typing import Final, NamedTuple

import structlog

from services.utilities.domain.registry import Pair, Registry, read_csv, subject_of
from services.utilities.domain.snapshots import next_version
from services.utilities.store import subjects as store
from shared.postgres import Pool, Unavailable

log = structlog.get_logger()

REGISTRY_SECONDS: Final = 1.0
"""How old the registry may be by which a push is judged: an import is seen after so long."""


class Import(NamedTuple):
    """What an import of the registry changed, in pairs of company and service in a county."""

    added: int
    changed: int
    removed: int
    unchanged: int


async def import_registry(pool: Pool, text: str, now: datetime) -> Import:
    """Makes the registry what the CSV ``text`` says, whole: a pair that it does not name is removed.

    Raises:
        RegistryErrors: the text cannot be taken; nothing was written.
    """
    wanted = {subject_of(state.county, state.company, state.service): state for state in read_csv(text)}
    rows: list[store.Row] = []
    async with pool.acquire() as db, db.transaction():
        known = await store.lock_registry(db)
        standing = {subject: row for subject, row in known.items() if not row.deleted}
        for subject, state in wanted.items():
            told = state.model_dump(mode="json")
            if subject not in standing or standing[subject].state != told:
                previous = known[subject].version if subject in known else 0
                rows.append(store.Row(subject, [], told, False, next_version(previous, now)))
        removed = standing.keys() - wanted.keys()
        rows += [store.Row(subject, [], {}, True, next_version(known[subject].version, now)) for subject in removed]
        await store.put_subjects(db, "registry", rows)
    added = len(wanted.keys() - standing.keys())
    changed = len(rows) - added - len(removed)
    return Import(added, changed, len(removed), len(wanted) - added - changed)


class RegistryUnknown(Exception):
    """The registry cannot be read or is empty, so nobody's entitlement can be judged. The fault is ours."""


class CurrentRegistry:
    """The registry by which pushes are judged: at most a second old, or as old as the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._held: Registry | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def get(self) -> Registry:
        """The registry now.

        Raises:
            RegistryUnknown: it was never read, or nobody is entered.
        """
        async with self._reading:
            if self._held is None or time.monotonic() - self._read_at > REGISTRY_SECONDS:
                await self._refresh()
        if self._held is None:
            raise RegistryUnknown("the registry cannot be read: see that the database answers")
        if not self._held.pairs:
            raise RegistryUnknown("the registry is empty: import it (import-registry FILE)")
        return self._held

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(2), self._pool.acquire() as db:
                self._held = Registry(frozenset(Pair(*pair) for pair in await store.pairs(db)))
        except Unavailable as error:
            log.warning("registry_not_read", error=type(error).__name__, held=self._held is not None)
        self._read_at = time.monotonic()
