"""Counting: a partition's records into cases, counters and snapshots, with their offset in one transaction."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple, Protocol

from services.metrics.domain.cases import CaseState, merge
from services.metrics.domain.journal import Moved
from services.metrics.domain.matters import Matter
from services.metrics.domain.wire import CaseRecord, Unreadable, read_case, read_snapshot
from services.metrics.handlers import following
from services.metrics.store import cases, counters, heard, offsets
from shared.events.progress import Snapshot
from shared.postgres import Pool, committing


class Raw(Protocol):
    """A record as it came: where, and its bytes. Kafka's client has such; so is :class:`RawRecord`."""

    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class RawRecord(NamedTuple):
    """A record without what the counting does not need."""

    offset: int
    value: bytes | None


class Unusable(NamedTuple):
    """A record to park: where it was, and why it could not be read."""

    offset: int
    value: bytes
    error: Unreadable


Park = Callable[[Sequence[Unusable]], Awaitable[None]]
"""Makes the records durable on ``parked`` before it returns, or raises where they are too many for poison (``shared.unusable``)."""


def read_all(records: Sequence[Raw]) -> tuple[list[CaseRecord], list[Unusable]]:
    """The case events among ``records``, and what could not be read."""
    read: list[CaseRecord] = []
    unusable: list[Unusable] = []
    for record in records:
        try:
            read.append(read_case(record.value))
        except Unreadable as error:
            unusable.append(Unusable(record.offset, record.value or b"", error))
    return read, unusable


def fold(records: Sequence[CaseRecord]) -> dict[str, dict[str, CaseState]]:
    """The batch's own merge: one state a case number, by source."""
    folded: dict[str, dict[str, CaseState]] = {}
    for source, case_no, version, event in records:
        of_source = folded.get(source)
        if of_source is None:
            of_source = folded[source] = {}
        known = of_source.get(case_no)
        of_source[case_no] = CaseState(version, (event,)) if known is None else merge(known, version, (event,))
    return folded


def _latest(states: Iterable[CaseState]) -> int:
    """The latest moment that any of a batch's events was recorded, in microseconds since the epoch."""
    # state.events[-1].recorded_at, by places and without a line of Python for each: every case of every batch passes here.
    latest: int = max(map(itemgetter(0), map(itemgetter(-1), map(itemgetter(1), states))))
    return latest


async def count_batch(pool: Pool, park: Park, topic: str, partition: int, expected: int, records: Sequence[Raw]) -> int:
    """Counts one partition's records in one transaction with the offset; returns the next offset wanted.

    Raises:
        offsets.Fenced: another worker has counted this partition on; nothing was written.
        MostlyUnusable: by ``park``; nothing was written.
    """
    read, unusable = read_all(records)
    if unusable:
        await park(unusable)
    folded = fold(read)
    wanted = records[-1].offset + 1
    async with pool.acquire() as db, committing(db):
        await offsets.advance(db, topic, partition, expected, wanted)
        if folded:
            ids = await cases.source_ids(db, folded.keys())
            moved = Moved()
            for source in sorted(folded):
                await cases.merge_cases(db, ids[source], folded[source], moved)
            await cases.record(db, moved)
            await heard.note(db, partition, {ids[source]: _latest(folded[source].values()) for source in folded})
    return wanted


async def keep_snapshots(pool: Pool, park: Park, topic: str, partition: int, expected: int, records: Sequence[Raw]) -> int:
    """Keeps the newest snapshot of each subject, and what counts of it, in one transaction with the offset; returns the next
    offset wanted.

    A record without a value is compaction's mark of a removed key: snapshots say themselves when they are deleted, so
    it is passed over.

    Raises:
        offsets.Fenced, MostlyUnusable: as :func:`count_batch`.
    """
    newest: dict[tuple[str, str], tuple[Snapshot, Matter | None]] = {}
    unusable: list[Unusable] = []
    for record in records:
        offset, value = record.offset, record.value
        if value is None:
            continue
        try:
            snapshot = read_snapshot(value)
            counts_as = following.counts_as(snapshot)
        except Unreadable as error:
            unusable.append(Unusable(offset, value, error))
            continue
        key = (snapshot.kind, snapshot.subject)
        if key not in newest or newest[key][0].version < snapshot.version:
            newest[key] = snapshot, counts_as
    if unusable:
        await park(unusable)
    wanted = records[-1].offset + 1
    async with pool.acquire() as db, committing(db):
        await offsets.advance(db, topic, partition, expected, wanted)
        if newest:
            await following.keep(db, newest)
    return wanted


async def fold_counters(pool: Pool) -> int:
    """Folds waiting counter deltas into the counters; returns how many batches were folded."""
    async with pool.acquire() as db, db.transaction():
        return await counters.fold_deltas(db)
