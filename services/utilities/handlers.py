"""Use cases of the utilities service: take a batch, import the registry, know who is entitled."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import structlog

from services.utilities import store
from services.utilities.domain.kinds import INSTALLATIONS, PRESENCE, Kept
from services.utilities.domain.registers import Data, Event, dump, load
from services.utilities.domain.registry import Pair, Registry, read_csv, subject_of
from services.utilities.domain.snapshots import next_version
from shared import offsets
from shared.events.utility import Installation, Presence
from shared.postgres import Connection, Pool, Unavailable

log = structlog.get_logger()

REGISTRY_SECONDS: Final = 1.0
"""How old the registry may be by which a push is judged: an import is seen after so long."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The readable events of one partition's records from ``expected`` on; ``following`` is the offset after them."""

    topic: str
    partition: int
    expected: int
    following: int
    installations: list[Event[Installation]] = field(default_factory=list)
    presence: list[Event[Presence]] = field(default_factory=list)

    def add(self, event_id: str, body: Installation | Presence) -> None:
        """Adds one event."""
        if isinstance(body, Installation):
            self.installations.append(Event.of(event_id, body))
        else:
            self.presence.append(Event.of(event_id, body))


async def take(pool: Pool, batch: Batch, now: datetime) -> int:
    """Merges the batch and moves the offset, in one transaction; returns how many subjects changed.

    Raises:
        offsets.Fenced: another worker has taken these records; nothing was written.
    """
    async with pool.acquire() as db, db.transaction():
        await offsets.advance(db, batch.topic, batch.partition, batch.expected, batch.following)
        changed = await _merge(db, INSTALLATIONS, batch.installations, now)
        return changed + await _merge(db, PRESENCE, batch.presence, now)


async def _merge(db: Connection, kept: Kept[Data], events: Iterable[Event[Data]], now: datetime) -> int:
    groups = kept.group(events)
    if not groups:
        return 0
    known = await store.lock_subjects(db, kept.kind, groups)
    changed: list[store.Row] = []
    for subject, arrived in groups.items():
        before = known.get(subject)
        old = load(kept.model, before.events) if before is not None else ()
        new = kept.merge(old, arrived)
        if new != old:
            version = next_version(before.version if before is not None else 0, now)
            told = kept.tell(new)
            changed.append(store.Row(subject, dump(new), told.state, told.deleted, version))
    await store.put_subjects(db, kept.kind, changed)
    return len(changed)


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


async def publish_again(pool: Pool) -> int:
    """Has every snapshot published again; returns how many there are."""
    async with pool.acquire() as db, db.transaction():
        return await store.forget_published(db)


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
