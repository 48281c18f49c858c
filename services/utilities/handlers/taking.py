"""Taking a batch of what companies reported into the state, and having the state told again."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from services.utilities.domain.kinds import PRESENCE, WINDOWS, Kept, kept_installations
from services.utilities.domain.limits import DueStep, TimeLimits
from services.utilities.domain.registers import Data, Event, dump
from services.utilities.domain.snapshots import next_version
from services.utilities.domain.wire import InstallationData, PresenceData, Reported, WindowData
from services.utilities.store import due, joint
from services.utilities.store import subjects as store
from shared import audit, offsets
from shared.postgres import Connection, Pool, committing


class OtherLimits(Exception):
    """Another worker has put other time limits in force; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The readable events of one partition's records from ``expected`` on; ``following`` is the offset after them."""

    topic: str
    partition: int
    expected: int
    following: int
    installations: list[Event[InstallationData]] = field(default_factory=list)
    presence: list[Event[PresenceData]] = field(default_factory=list)
    windows: list[Event[WindowData]] = field(default_factory=list)

    def add(self, event_id: str, body: Reported) -> None:
        """Adds one event."""
        if isinstance(body, InstallationData):
            self.installations.append(Event(event_id, body))
        elif isinstance(body, PresenceData):
            self.presence.append(Event(event_id, body))
        else:
            self.windows.append(Event(event_id, body))


async def take(pool: Pool, batch: Batch, limits: TimeLimits, now: datetime) -> int:
    """Merges the batch and moves the offset, in one transaction; returns how many subjects changed.

    Raises:
        offsets.Fenced: another worker has taken these records; nothing was written.
        OtherLimits: due dates are derived by other limits than ``limits``; nothing was written.
    """
    async with pool.acquire() as db, committing(db):
        await offsets.advance(db, batch.topic, batch.partition, batch.expected, batch.following)
        changed = await merge(db, PRESENCE, batch.presence, now)
        changed += await merge(db, WINDOWS, batch.windows, now)
        if batch.installations:
            in_force = await due.read_basis(db, "limits")
            if in_force != limits.digest:
                raise OtherLimits(
                    f"due dates are derived by time limits {in_force}, and this worker has {limits.digest}: start all workers with"
                    " one configuration and one version of the calendar; the one that starts last has its way"
                )
            changed += await merge(db, kept_installations(limits), batch.installations, now)
        return changed


async def merge(db: Connection, kept: Kept[Data], events: Iterable[Event[Data]], now: datetime) -> int:
    """Merges ``events`` into their subjects; returns how many changed."""
    groups = kept.group(events)
    if not groups:
        return 0
    known = await store.lock_subjects(db, kept.kind, groups)
    changed: list[Changed] = []
    for subject, arrived in groups.items():
        before = known.get(subject)
        old = kept.load(before.events) if before is not None else ()
        new = kept.merge(old, arrived)
        if new != old:
            told = kept.tell(new)
            version = next_version(before.version if before is not None else 0, now)
            timing = due.dump_timing(told.due.timing) if told.due is not None else None
            row = store.Row(subject, dump(new), told.state, told.deleted, version, timing)
            changed.append(Changed(before, row, told.due.steps if told.due is not None else []))
    await put(db, kept, changed)
    return len(changed)


@dataclass(frozen=True, slots=True)
class Changed:
    """A subject before and after, and the limits of an installation."""

    before: store.Stored | None
    row: store.Row
    due_steps: list[DueStep]


async def put(db: Connection, kept: Kept[Data], changed: list[Changed]) -> None:
    """Stores them, with due dates, and marks the joint installations that they touch."""
    ids = await store.put_subjects(db, kept.kind, [one.row for one in changed])
    if ids:
        await due.put_due(db, {ids[one.row.subject]: one.due_steps for one in changed})
        named = {
            state["case_no"]
            for one in changed
            for state in (one.before.state if one.before is not None else {}, one.row.state)
            if "case_no" in state
        }
        if named:
            await joint.mark_waiting(db, named)


async def publish_again(pool: Pool, now: datetime, who: str) -> int:
    """Has every snapshot published again, as ``who`` wishes; returns how many there are."""
    async with pool.acquire() as db, db.transaction():
        count = await store.forget_published(db)
        detail = {"snapshots": count}
        await audit.write(db, at=now, role=audit.COMMAND, who=who, action="snapshots.publish-again", subject="all", detail=detail)
    return count
