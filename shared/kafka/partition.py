"""The one partition that holds all events of a key, read from its beginning to where it ends now."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import DefaultPartitioner

from shared.kafka.access import Bootstrap, client_options
from shared.kafka.handler import Record

_POLL_MS: Final = 200
_partition: Final = DefaultPartitioner()


class NoTopic(LookupError):
    """Kafka answers, and knows no topic of this name."""


class Portion(NamedTuple):
    """Records in order, with how far the reading is: ``begin`` and ``end`` are the offsets it goes from and to."""

    records: Sequence[Record]
    position: int
    begin: int
    end: int


async def read_partition_of(bootstrap: Bootstrap, topic: str, key: bytes, *, most: int = 5000) -> AsyncGenerator[Portion, None]:
    """The records of the partition that our publishers put ``key`` into, those of other keys too, up to ``most`` at a time.

    Without a group, so that nobody else notices; aborted transactions are not read. What arrives after the start is left out.

    Raises:
        NoTopic: there is no such topic.
        KafkaError: the broker does not answer or refuses.
    """
    known = await _partitions(bootstrap, topic)
    of_key = TopicPartition(topic, _partition(key, known, known))
    consumer = AIOKafkaConsumer(
        **client_options(bootstrap),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    try:
        await consumer.start()
        consumer.assign([of_key])
        begin = (await consumer.beginning_offsets([of_key]))[of_key]
        end = (await consumer.end_offsets([of_key]))[of_key]
        # The position, not the last record, tells the end: markers of transactions are offsets without a record.
        while (position := await consumer.position(of_key)) < end:
            found = await consumer.getmany(of_key, timeout_ms=_POLL_MS, max_records=most)
            records = [record for record in found.get(of_key, ()) if record.offset < end]
            position = min(await consumer.position(of_key), end)
            yield Portion(records, position, begin, end)
    finally:
        await consumer.stop()


async def _partitions(bootstrap: Bootstrap, topic: str) -> list[int]:
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        (described,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    if not described["partitions"]:
        raise NoTopic(topic)
    return sorted(partition["partition"] for partition in described["partitions"])
