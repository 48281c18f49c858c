"""The worker's subscriptions: case events and snapshots, each counted with its offset in one transaction."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from aiokafka import TopicPartition
from faststream.kafka import KafkaBroker

from services.metrics.handlers import counting
from services.metrics.handlers.counting import Raw, Unusable
from services.metrics.store import offsets
from shared.clock import now
from shared.events.case import CaseStep
from shared.kafka import Halt, Message, PartitionConsumer, Publisher, Record, Topics
from shared.parking import Digest, count_parked, parked_event
from shared.postgres import Pool
from shared.unusable import Limits, MostlyUnusable, Watch

Take = Callable[[Pool, counting.Park, str, int, int, Sequence[Raw]], Awaitable[int]]
"""A use case that takes a partition's records: pool, park, topic, partition, expected offset, records."""


class Parking:
    """Parks records that could not be read."""

    def __init__(self, publisher: Publisher, topics: Topics, digest: Digest) -> None:
        self._publisher = publisher
        self._topic = topics.parked
        self._digest = digest

    async def park(self, topic: str, partition: int, unusable: Sequence[Unusable]) -> None:
        """Makes records durable on ``parked``, known by where they were, so that retries park once.

        Raises:
            KafkaUnavailable: they are not known to be stored.
        """
        at = now()
        messages = []
        for offset, value, error in unusable:
            origin = f"{topic}/{partition}/{offset}"
            record = parked_event(
                service="metrics", origin=origin, verdict=error.verdict, raw=value, item=error.item,
                fields=CaseStep.model_fields.keys(), sender=None, at=at, digest=self._digest,
            )  # fmt: skip
            messages.append(Message(self._topic, origin, record))
        await self._publisher.publish(messages)
        count_parked("metrics", (error.verdict.reason for _, _, error in unusable))


class StoredOffset:
    """A partition's way into the database; the offset lives there (``docs/decisions/0006-offset-in-the-database.md``)."""

    def __init__(self, take: Take, pool: Pool, parking: Parking, limits: Limits) -> None:
        self._take = take
        self._pool = pool
        self._parking = parking
        self._watch = Watch(limits)

    async def position(self, partition: TopicPartition, topic_id: UUID | None) -> int:
        async with self._pool.acquire() as db:
            try:
                return await offsets.position(db, partition.topic, partition.partition, topic_id)
            except offsets.OtherTopic as error:
                raise Halt(str(error)) from error

    async def apply(self, partition: TopicPartition, expected: int, records: Sequence[Record]) -> int:
        async def park(unusable: Sequence[Unusable]) -> None:
            self._watch.check(partition.partition, expected, records, {one.offset for one in unusable})
            await self._parking.park(partition.topic, partition.partition, unusable)

        try:
            return await self._take(self._pool, park, partition.topic, partition.partition, expected, records)
        except MostlyUnusable as error:
            raise Halt(str(error)) from error


def subscribe(
    broker: KafkaBroker, topics: Topics, pool: Pool, parking: Parking, limits: Limits, group: str, batch_records: int
) -> list[PartitionConsumer]:
    """The worker's consumers, of ``group`` and ``{group}-progress``; call before the broker starts."""
    cases = StoredOffset(counting.count_batch, pool, parking, limits)
    snapshots = StoredOffset(counting.keep_snapshots, pool, parking, limits)
    return [
        PartitionConsumer(broker, topics.case_events, group, cases, batch_records),
        PartitionConsumer(broker, topics.progress, f"{group}-progress", snapshots, batch_records),
    ]
