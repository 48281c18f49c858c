"""The worker's subscription to ``utility-events`` and its publishing of snapshots to ``progress``."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog
from aiokafka import TopicPartition
from faststream.kafka import KafkaBroker
from prometheus_client import Counter

from services.utilities.domain.judging import SHOWN_FIELDS, parse, read
from services.utilities.domain.snapshots import encode_snapshot
from services.utilities.handlers import taking
from services.utilities.handlers.taking import Batch
from services.utilities.store import subjects as store
from shared import offsets
from shared.clock import Clock, now
from shared.kafka import Halt, KafkaUnavailable, Message, PartitionConsumer, Publisher, Record, Topics
from shared.parking import parked_event
from shared.postgres import Connection, Pool, Unavailable
from shared.verdicts import Refusal, Rejected, event_id_of

log = structlog.get_logger()

GROUP: Final = "onething-utilities"
FEWEST_TO_JUDGE: Final = 20
MOST_UNUSABLE: Final = 0.5
"""A batch of at least so many records with over this share unusable is a fault of ours or the sender's, not poison."""

POLL_SECONDS: Final = 1.0
"""How often the publisher looks by itself: for the import's rows, and for what another worker left behind."""

PUBLISH_AT_ONCE: Final = 500

TROUBLE: Final[tuple[type[Exception], ...]] = (*Unavailable, KafkaUnavailable)
"""What passes: a database or a broker that is away."""

TAKEN = Counter("onething_utilities_records_total", "Records taken from utility-events.")
PARKED = Counter("onething_utilities_parked_total", "Records of utility-events that could not be used.")
FENCED = Counter("onething_utilities_fenced_total", "Batches given up because another worker had taken the partition on.")
PUBLISHED = Counter("onething_utilities_snapshots_total", "Snapshots published to progress.", ["kind"])


class UtilityEvents:
    """A partition's way into the database; the offset lives there."""

    def __init__(self, pool: Pool, publisher: Publisher, topics: Topics, changed: asyncio.Event, clock: Clock = now) -> None:
        self._pool = pool
        self._publisher = publisher
        self._topics = topics
        self._changed = changed
        self._clock = clock

    async def position(self, partition: TopicPartition, topic_id: UUID | None) -> int:
        async with self._pool.acquire() as db:
            try:
                return await offsets.position(db, partition.topic, partition.partition, topic_id)
            except offsets.OtherTopic as error:
                raise Halt(str(error)) from error

    async def apply(self, partition: TopicPartition, expected: int, records: Sequence[Record]) -> int:
        following = int(records[-1].offset) + 1
        batch = Batch(partition.topic, partition.partition, expected, following)
        unusable: list[Message] = []
        for record in records:
            try:
                batch.add(*read(record.value))
            except Refusal as refusal:
                unusable.append(self._parked(record, refusal))
        if len(records) >= FEWEST_TO_JUDGE and len(unusable) > MOST_UNUSABLE * len(records):
            raise Halt(f"{len(unusable)} of {len(records)} records are unusable: find out who wrote them, then start again")
        await self._publisher.publish(unusable)
        try:
            changed = await taking.take(self._pool, batch, self._clock())
        except offsets.Fenced:
            FENCED.inc()
            raise
        TAKEN.inc(len(records))
        PARKED.inc(len(unusable))
        if changed:
            self._changed.set()
        return following

    def _parked(self, record: Record, refusal: Refusal) -> Message:
        try:
            item = parse(record.value)
        except Refusal:
            item = None
        origin = f"{record.topic}/{record.partition}/{record.offset}"
        value = parked_event(
            service="utilities", origin=origin, verdict=Rejected(event_id_of(item), refusal.reason, refusal.errors),
            raw=record.value or b"", item=item, fields=SHOWN_FIELDS, sender=None, at=self._clock(),
        )  # fmt: skip
        return Message(self._topics.parked, origin, value)


def subscribe(broker: KafkaBroker, topics: Topics, handler: UtilityEvents, batch_records: int) -> PartitionConsumer:
    """The worker's consumer; call before the broker starts."""
    return PartitionConsumer(broker, topics.utility_events, GROUP, handler, batch_records)


class SnapshotPublisher:
    """Publishes each row whose version is above its published version, from the state: whatever happens, it catches up.

    One at a time among all workers: who holds the advisory lock. All it reads and notes goes through the session that
    holds the lock, so that one that lost it notices.
    """

    def __init__(self, pool: Pool, publisher: Publisher, topics: Topics, changed: asyncio.Event, clock: Clock = now) -> None:
        self._pool = pool
        self._publisher = publisher
        self._topic = topics.progress
        self._changed = changed
        self._clock = clock
        self.wrong: str | None = "not yet running"

    async def run(self) -> None:
        """Publishes until cancelled. What goes wrong is logged, said in :attr:`wrong`, and tried again."""
        while True:
            try:
                async with self._pool.acquire() as db:
                    if await store.lead(db):
                        await self._publish_for_ever(db)
                self.wrong = None  # another worker publishes
            except Exception as error:
                self.wrong = f"snapshots wait: {type(error).__name__}"
                passes = isinstance(error, TROUBLE)
                log.warning("snapshots_wait", error=type(error).__name__, exc_info=not passes)
            await asyncio.sleep(POLL_SECONDS)

    async def _publish_for_ever(self, db: Connection) -> None:
        while True:
            self._changed.clear()
            while await self._publish_some(db):
                pass
            self.wrong = None
            try:
                await asyncio.wait_for(self._changed.wait(), POLL_SECONDS)
            except TimeoutError:
                continue

    async def _publish_some(self, db: Connection) -> int:
        """Publishes some of what waits; returns how many snapshots."""
        count = 0
        for kind in store.TABLES:
            snapshots = await store.unpublished(db, kind, PUBLISH_AT_ONCE)
            if not snapshots:
                continue
            at = self._clock()
            await self._publisher.publish([Message(self._topic, s.key, encode_snapshot(s, at)) for s in snapshots])
            await store.mark_published(db, kind, snapshots)
            PUBLISHED.labels(kind).inc(len(snapshots))
            count += len(snapshots)
        return count
