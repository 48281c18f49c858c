"""Topics as the log of record: read from their beginning, without a group, so that nobody else notices."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.kafka.access import Bootstrap, client_options
from shared.kafka.handler import Record
from shared.kafka.topic_id import topic_id

Place = tuple[str, int]
"""(topic, partition)"""

READ_SECONDS: Final = 1.0
"""How long one reading waits for records."""


class UnknownTopic(ValueError):
    """A topic to be read does not exist."""


class LogReader:
    """Reads every partition of ``topics`` from its beginning on. Nothing is committed; aborted transactions are not read.

    Entering it raises :class:`UnknownTopic`, or the client's KafkaError where Kafka does not answer.
    """

    def __init__(self, bootstrap: Bootstrap, topics: Sequence[str], *, client_id: str) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._client_id = client_id
        self._opened: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        # Made here, not in __init__: aiokafka binds to the loop that runs.
        consumer = AIOKafkaConsumer(
            **client_options(self._bootstrap),
            client_id=self._client_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=2 * 1024 * 1024,
        )
        try:
            await consumer.start()
            if missing := sorted(set(self._topics) - await consumer.topics()):
                raise UnknownTopic(f"Kafka at {self._bootstrap} has no topic {', '.join(missing)}: see address and topic prefix")
            partitions = {topic: await consumer._client._wait_on_metadata(topic) for topic in self._topics}
            consumer.assign([TopicPartition(topic, number) for topic in self._topics for number in partitions[topic]])
        except BaseException:
            await consumer.stop()
            raise
        self._opened = consumer
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._consumer.stop()

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        assert self._opened is not None, "enter the reader first"
        return self._opened

    async def begins(self) -> dict[Place, int]:
        """The first offset that each partition still holds."""
        return dict(await self._consumer.beginning_offsets(list(self._consumer.assignment())))

    async def ends(self) -> dict[Place, int]:
        """The offset that each partition's next record will get."""
        return dict(await self._consumer.end_offsets(list(self._consumer.assignment())))

    async def ids(self) -> dict[str, UUID | None]:
        """The id that Kafka gave each topic when it was created."""
        return {topic: await topic_id(self._consumer, topic) for topic in self._topics}

    async def read(self, most: int) -> Mapping[Place, Sequence[Record]]:
        """The next records, up to ``most`` in all; empty when none came within :data:`READ_SECONDS`."""
        found = await self._consumer.getmany(timeout_ms=int(READ_SECONDS * 1000), max_records=most)
        return {(partition.topic, partition.partition): records for partition, records in found.items()}

    async def positions(self) -> dict[Place, int]:
        """The offset that is read next in each partition, past whatever holds no record (markers, what compaction removed)."""
        return {partition: await self._consumer.position(partition) for partition in self._consumer.assignment()}
