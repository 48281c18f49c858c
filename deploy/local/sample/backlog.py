"""How far the services are behind the log, by the offsets that their consumer groups have committed."""

from collections.abc import Mapping, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from shared.kafka.access import Bootstrap, client_options

OURS: Final = "onething"
"""Consumer groups of the services begin with it; somebody's console reader is not waited for."""

Positions = Mapping[TopicPartition, int]


async def backlog(bootstrap: Bootstrap, topics: Sequence[str]) -> dict[str, int]:
    """Records not yet consumed, by topic, for those topics where there are any.

    Raises:
        KafkaError, OSError: Kafka does not answer.
    """
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    reader = AIOKafkaConsumer(**client_options(bootstrap))
    await admin.start()
    try:
        await reader.start()
        # What is committed is read before the ends: what is written between the two counts as behind, never as done.
        names = [name for name, *_ in await admin.list_consumer_groups() if name.startswith(OURS)]
        committed = {
            name: {partition: offset.offset for partition, offset in (await admin.list_consumer_group_offsets(name)).items()}
            for name in names
        }
        found: dict[str, int] = {}
        for described in await admin.describe_topics(list(topics)):
            topic = described["topic"]
            partitions = [TopicPartition(topic, part["partition"]) for part in described["partitions"]]
            behind = records_behind(await reader.end_offsets(partitions), committed)
            if behind:
                found[topic] = behind
        return found
    finally:
        await reader.stop()
        await admin.close()


def records_behind(ends: Positions, committed: Mapping[str, Positions]) -> int:
    """Records before ``ends`` that the slowest group has not had. A topic that no group has read is unread from its start."""
    readers = [offsets for offsets in committed.values() if any(partition in offsets for partition in ends)] or [{}]
    return max(sum(end - max(offsets.get(partition, 0), 0) for partition, end in ends.items()) for offsets in readers)
