"""The worker's subscription to ``province-push``."""

from collections.abc import Callable, Collection, Sequence
from typing import Final
from uuid import UUID

from aiokafka import TopicPartition
from faststream.kafka import KafkaBroker

from services.intake.domain import Sender
from services.intake.handlers import taking
from shared.clock import Clock
from shared.kafka import Halt, PartitionConsumer, Publisher, Record, Topics

GROUP: Final = "onething-intake"


class ProvincePush:
    """A partition's way to ``case-events`` and ``parked``. Nothing is stored here: Kafka's committed offset rules."""

    def __init__(
        self, senders: Callable[[], Collection[Sender]], publisher: Publisher, topics: Topics, clock: Clock, most_unusable: float
    ) -> None:
        self._senders = senders
        self._publisher = publisher
        self._topics = topics
        self._clock = clock
        self._most_unusable = most_unusable

    async def position(self, partition: TopicPartition, topic_id: UUID | None) -> int | None:
        return None

    async def apply(self, partition: TopicPartition, expected: int, records: Sequence[Record]) -> int:
        raw = [taking.RawRecord(f"{record.topic}/{record.partition}/{record.offset}", record.value or b"") for record in records]
        try:
            await taking.take(raw, self._senders(), self._publisher, self._topics, self._clock, self._most_unusable)
        except taking.MostlyUnusable as error:
            raise Halt(str(error)) from None
        return int(records[-1].offset) + 1


def subscribe(broker: KafkaBroker, topics: Topics, handler: ProvincePush, batch_records: int) -> PartitionConsumer:
    """The worker's consumer; call before the broker starts."""
    return PartitionConsumer(broker, topics.province_push, GROUP, handler, batch_records)
