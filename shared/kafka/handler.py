"""What a service does with the records of a partition, as :class:`shared.kafka.PartitionConsumer` calls it."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from aiokafka import ConsumerRecord, TopicPartition

Record = ConsumerRecord[bytes | None, bytes | None]


class Halt(Exception):
    """Going on would lose or double events. The message says what to do; the consumer stays stopped."""


class PartitionHandler(Protocol):
    """What a service does with one partition's records, and where it remembers how far it is."""

    async def position(self, partition: TopicPartition, topic_id: UUID | None) -> int | None:
        """The next offset wanted, from the handler's own store; ``None`` where Kafka's committed offset rules.

        ``topic_id`` is the one that Kafka gave the topic when it was created. A handler that stores positions stores it
        with them: offsets of a topic made anew mean other events.

        Raises:
            Halt: the position belongs to another topic of the same name.
        """

    async def apply(self, partition: TopicPartition, expected: int, records: Sequence[Record]) -> int:
        """Takes records from ``expected`` on, all or nothing, and returns the next offset wanted.

        Raises:
            Halt: going on would be wrong.
            Exception: nothing was taken, or that is not known; the position is read again and the records come back.
        """
