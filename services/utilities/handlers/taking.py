"""Taking a batch of events into the state, and having the state told again."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from services.utilities.domain.kinds import INSTALLATIONS, PRESENCE, Kept
from services.utilities.domain.registers import Data, Event, dump, load
from services.utilities.domain.snapshots import next_version
from services.utilities.store import subjects as store
from shared import offsets
from shared.events.utility import Installation, Presence
from shared.postgres import Connection, Pool


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


async def publish_again(pool: Pool) -> int:
    """Has every snapshot published again; returns how many there are."""
    async with pool.acquire() as db, db.transaction():
        return await store.forget_published(db)
