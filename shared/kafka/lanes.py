"""Group commit: what waits for one partition goes together in its next batch.

While a partition's batch is under way, messages of any number of callers gather behind it. aiokafka's ``send`` gathers too, but
makes a future a message, which is most of its cost; here there is one a caller and one a batch. A partition whose leader is away
holds up its own messages alone.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.events.envelope import MEDIA_TYPE

CONTENT_TYPE: Final = ("content-type", f"{MEDIA_TYPE}; charset=UTF-8".encode())
_HEADERS: Final = [CONTENT_TYPE]

Pair = tuple[bytes, bytes]
"""Key and value."""


class Delivery:
    """One caller's messages. ``future`` is done when each of them is stored, or one of them is not."""

    __slots__ = ("future", "missing")

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future
        self.missing = 0
        """Partitions that have not answered yet."""

    def stored(self) -> None:
        self.missing -= 1
        if not self.missing and not self.future.done():
            self.future.set_result(None)

    def failed(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Lane:
    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[Delivery, Sequence[Pair]]] = deque()
        self.task: asyncio.Task[None] | None = None


class Lanes:
    """The partitions that ``producer`` writes to, a lane each, with one batch under way at most."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._lanes: dict[tuple[str, int], _Lane] = {}

    def put(self, topic: str, partition: int, delivery: Delivery, pairs: Sequence[Pair]) -> None:
        """Has ``pairs`` sent in order, behind what waits there already."""
        place = topic, partition
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = _Lane()
        delivery.missing += 1
        lane.waiting.append((delivery, pairs))
        if lane.task is None:
            # It begins when the loop has heard everybody who is ready now: they go together.
            lane.task = asyncio.create_task(self._work(topic, partition, lane))

    async def _work(self, topic: str, partition: int, lane: _Lane) -> None:
        try:
            while lane.waiting:
                batch = self._producer.create_batch()
                whole, begun = _load(batch, lane.waiting)
                batch.close()
                try:
                    if batch.record_count():
                        await (await self._producer.send_batch(batch, topic, partition=partition))
                except (KafkaError, OSError) as error:
                    for delivery in (*whole, *begun):
                        delivery.failed(error)
                else:
                    for delivery in whole:
                        delivery.stored()
        finally:
            lane.task = None


def _load(batch: object, waiting: deque[tuple[Delivery, Sequence[Pair]]]) -> tuple[list[Delivery], list[Delivery]]:
    """Moves what fits into ``batch``: deliveries that are in it to their last message, and the one that goes on in the next."""
    append = batch.append  # type: ignore[attr-defined]
    whole: list[Delivery] = []
    while waiting:
        delivery, pairs = waiting.popleft()
        if delivery.future.done():
            continue  # given up meanwhile, or failed elsewhere: nobody waits for it
        for number, (key, value) in enumerate(pairs):
            if append(key=key, value=value, timestamp=None, headers=_HEADERS) is None:
                waiting.appendleft((delivery, pairs[number:]))
                return whole, [delivery] if number else []
        whole.append(delivery)
    return whole, []
