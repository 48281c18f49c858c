"""The worker's subscriptions: ``province-push`` that it takes, ``case-events`` and ``parked`` that it indexes."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from uuid import UUID

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from services.intake.domain import Sender
from services.intake.handlers import indexing, taking
from shared import offsets
from shared.kafka import Halt, KafkaUnavailable, PartitionConsumer, Record, Topics
from shared.postgres import Pool
from shared.unusable import MostlyUnusable

Take = Callable[[Pool, str, int, int, Sequence[Record]], Awaitable[int]]
"""A use case that indexes a partition's records: pool, topic, partition, expected offset, records."""


class ProvincePush:
    """A partition's way to ``case-events`` and ``parked``. Nothing is stored here: Kafka's committed offset rules."""

    def __init__(self, needs: taking.Taking) -> None:
        self._needs = needs

    async def position(self, partition: TopicPartition, topic_id: UUID | None) -> int | None:
        return None

    async def apply(self, partition: TopicPartition, expected: int, records: Sequence[Record]) -> int:
        try:
            await taking.take(records, partition.topic, partition.partition, expected, self._needs)
        except MostlyUnusable as error:
            raise Halt(str(error)) from None
        return int(records[-1].offset) + 1


class Index:
    """A partition's way into the index; the offset lives there (``docs/decisions/0006-offset-in-the-database.md``)."""

    def __init__(self, take: Take, pool: Pool) -> None:
        self._take = take
        self._pool = pool

    async def position(self, partition: TopicPartition, topic_id: UUID | None) -> int:
        async with self._pool.acquire() as db:
            try:
                return await offsets.position(db, partition.topic, partition.partition, topic_id)
            except offsets.OtherTopic as error:
                raise Halt(str(error)) from error

    async def apply(self, partition: TopicPartition, expected: int, records: Sequence[Record]) -> int:
        return await self._take(self._pool, partition.topic, partition.partition, expected, records)


def subscribe(broker: KafkaBroker, topics: Topics, handler: ProvincePush, batch_records: int) -> PartitionConsumer:
    """The worker's consumer; call before the broker starts."""
    return PartitionConsumer(broker, topics.province_push, topics.group("intake"), handler, batch_records)


def subscribe_index(
    broker: KafkaBroker, topics: Topics, pool: Pool, senders: Callable[[], Collection[Sender]], batch_records: int
) -> list[PartitionConsumer]:
    """The consumers of what is indexed; call before the broker starts."""
    events, parked = Index(indexing.index_events, pool), Index(indexing.parked_indexer(senders), pool)
    return [
        PartitionConsumer(broker, topics.case_events, topics.group("intake-index"), events, batch_records),
        PartitionConsumer(broker, topics.parked, topics.group("intake-index-parked"), parked, batch_records),
    ]


async def ends(consumers: Collection[PartitionConsumer]) -> dict[tuple[str, int], int]:
    """The offset that the next record of each partition of the consumers' topics will get.

    Raises:
        KafkaUnavailable: the broker does not answer.
    """
    try:
        return {(consumer.topic, number): end for consumer in consumers for number, end in (await consumer.ends()).items()}
    except KafkaError as error:
        raise KafkaUnavailable(type(error).__name__) from error
