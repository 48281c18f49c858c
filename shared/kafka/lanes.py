"""Group commit: what waits for one partition goes together in its next batch.

While a request to a broker is under way, messages of any number of callers gather in the batches that go next. aiokafka's ``send``
gathers too, but makes a future a message, which is most of its cost; here there is one a caller and one a batch. A partition whose
leader is away holds up its own messages alone.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from shared.events.envelope import MEDIA_TYPE

CONTENT_TYPE: Final = ("content-type", f"{MEDIA_TYPE}; charset=UTF-8".encode())
_HEADERS: Final = [CONTENT_TYPE]

Pair = tuple[bytes, bytes]
"""Key and value."""


TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
"""What a broker answers to a batch over the topic's ``max.message.bytes`` or ``segment.bytes``."""


class Delivery:
    """One caller's messages. ``future`` is done when each of them is stored or too large, or one of them is not stored."""

    __slots__ = ("future", "headers", "missing", "too_large")

    def __init__(self, future: asyncio.Future[None], further: Iterable[tuple[str, bytes]] | None = None) -> None:
        self.future = future
        self.headers = _HEADERS if further is None else [CONTENT_TYPE, *further]
        self.missing = 0
        """Batches that have not been answered yet."""
        self.too_large: list[bytes] = []
        """Values that Kafka does not take even alone."""

    def answered(self) -> None:
        self.missing -= 1
        if not self.missing and not self.future.done():
            self.future.set_result(None)

    def failed(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Batch:
    """A batch that is being filled: from its first message until the client takes it to the broker."""

    __slots__ = ("aboard", "builder", "cargo")

    def __init__(self, builder: BatchBuilder) -> None:
        self.builder = builder
        self.aboard: list[Delivery] = []
        self.cargo: list[tuple[Delivery, bytes, bytes]] = []

    def take(self, delivery: Delivery, key: bytes, value: bytes) -> bool:
        """Whether there was room, and the batch has not left."""
        if self.builder.append(key=key, value=value, timestamp=None, headers=delivery.headers) is None:
            return False
        self.cargo.append((delivery, key, value))
        if not self.aboard or self.aboard[-1] is not delivery:
            self.aboard.append(delivery)
            delivery.missing += 1
        return True


class Lanes:
    """The partitions that ``producer`` writes to, each with the batch that is being filled for it."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._filling: dict[tuple[str, int], _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, topic: str, partition: int, delivery: Delivery, pairs: Sequence[Pair]) -> None:
        """Has ``pairs`` sent in order, behind what was put before."""
        batch = self._filling.get((topic, partition))
        for key, value in pairs:
            if batch is None or not batch.take(delivery, key, value):
                batch = self._begin(topic, partition)
                taken = batch.take(delivery, key, value)
                assert taken, "an empty batch takes a message of any size"

    def _begin(self, topic: str, partition: int) -> _Batch:
        batch = self._filling[topic, partition] = _Batch(self._producer.create_batch())
        task = asyncio.create_task(self._send(topic, partition, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return batch

    async def _send(self, topic: str, partition: int, batch: _Batch) -> None:
        try:
            # It stays open, and is filled further, until the client has nothing under way to that broker and takes it.
            await (await self._producer.send_batch(batch.builder, topic, partition=partition))
        except TOO_LARGE:
            await self._send_apart(topic, partition, batch)
        except (KafkaError, OSError) as error:
            for delivery in batch.aboard:
                delivery.failed(error)
        else:
            for delivery in batch.aboard:
                delivery.answered()

    async def _send_apart(self, topic: str, partition: int, batch: _Batch) -> None:
        """Sends each half of a batch that the topic does not take, until what is too large stands alone."""
        halves: list[_Batch] = []
        if len(batch.cargo) == 1:
            delivery, _, value = batch.cargo[0]
            delivery.too_large.append(value)
        else:
            middle = len(batch.cargo) // 2
            for half in (batch.cargo[:middle], batch.cargo[middle:]):
                smaller = _Batch(self._producer.create_batch())
                for delivery, key, value in half:
                    smaller.take(delivery, key, value)
                halves.append(smaller)
        for delivery in batch.aboard:
            delivery.answered()
        # One after the other: the client has one place a partition, and gives up on those that wait for it too long.
        for smaller in halves:
            await self._send(topic, partition, smaller)
