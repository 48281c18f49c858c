"""A compacted topic of one partition, read from its beginning and followed, by who wants the newest of each key and no group."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

import structlog
from aiokafka.errors import KafkaError

from shared.kafka.access import Bootstrap
from shared.kafka.handler import Record
from shared.kafka.log import LogReader, UnknownTopic

log = structlog.get_logger()

CHECK_SECONDS: Final = 2.0
"""How often the broker is asked whether it is there and the topic the same: the client itself waits in silence."""
ANSWER_SECONDS: Final = 4.0
MOST_RECORDS: Final = 5_000

Answer = TypeVar("Answer")

Away: Final[tuple[type[Exception], ...]] = (KafkaError, OSError, TimeoutError, UnknownTopic)
"""What reading raises while Kafka is away or has no such topic."""


class Life(NamedTuple):
    """One life of a topic: made anew under its name, it counts its offsets from 0 again, for other records."""

    topic_id: UUID | None
    number: int
    """Which life it is to this follower, from 1 on; a log that was cut begins another too."""


class Follower:
    """Reads ``topic``'s only partition. After trouble it reads the whole again, which is harmless to who keeps the newest."""

    def __init__(self, bootstrap: Bootstrap, topic: str, *, client_id: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._client_id = client_id
        self._opened = contextlib.AsyncExitStack()
        self._reader: LogReader | None = None
        self._checked = 0.0
        self._end = 0
        self._furthest = 0
        self._aside: set[asyncio.Task[Any]] = set()
        self.life = Life(None, 0)
        self.begins = 0
        """The first offset that the log still held when its reading began."""

    async def read(self) -> Sequence[Record]:
        """The next records; empty when none came within a second. :attr:`life` says to which life they belong.

        Raises:
            Away: Kafka does not answer, or the topic is not there. Read on: it is tried again.
        """
        try:
            if self._reader is None or time.monotonic() - self._checked >= CHECK_SECONDS:
                await self._within(self._check(), ANSWER_SECONDS)
            assert self._reader is not None
            found = await self._reader.read(MOST_RECORDS)
        except BaseException:
            self._leave()
            raise
        records = next(iter(found.values()), ())
        if records:
            self._furthest = max(self._furthest, records[-1].offset + 1)
        return records

    async def behind(self) -> bool:
        """Whether there is more to read than was read, up to the end as it was at the last check.

        Raises:
            TimeoutError: the client does not know.
        """
        if self._reader is None:
            return True
        positions = await self._within(self._reader.positions(), ANSWER_SECONDS)
        return next(iter(positions.values())) < self._end

    async def close(self) -> None:
        """Lets the connection go; reading opens another."""
        self._leave()
        if self._aside:
            await asyncio.wait(self._aside, timeout=ANSWER_SECONDS)

    def _leave(self) -> None:
        self._reader = None
        opened, self._opened = self._opened, contextlib.AsyncExitStack()
        # The client takes its time to end while the broker is away: nobody waits for that.
        self._put_aside(asyncio.create_task(opened.aclose()))

    def _put_aside(self, task: asyncio.Task[Any]) -> None:
        self._aside.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._aside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("kafka_client_left", topic=self._topic, error=type(error).__name__)

    async def _within(self, work: Coroutine[None, None, Answer], seconds: float) -> Answer:
        """As ``asyncio.timeout``, but it does not wait until the client has noticed that it was given up."""
        task = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        finally:
            if not task.done():
                task.cancel()
                self._put_aside(task)
        if not done:
            raise TimeoutError("Kafka did not answer in time")
        return await task

    def check_now(self) -> None:
        """Has the next reading ask the broker for the end first."""
        self._checked = 0.0

    async def _check(self) -> None:
        if self._reader is None:
            opened = self._opened
            reader = await opened.enter_async_context(LogReader(self._bootstrap, [self._topic], client_id=self._client_id))
            if opened is not self._opened:
                await opened.aclose()  # it was given up meanwhile
                return None
            self._reader = reader
            self.begins = next(iter((await self._reader.begins()).values()))
        self._end = next(iter((await self._reader.ends()).values()))
        topic_id = (await self._reader.ids())[self._topic]
        if self.life.number and (topic_id != self.life.topic_id or self._end < self._furthest):
            # Begun with another: what the client holds is of offsets that mean other records now.
            self._leave()
            self.life, self._furthest = Life(topic_id, self.life.number + 1), 0
            return await self._check()
        if not self.life.number:
            self.life = Life(topic_id, 1)
        self._checked = time.monotonic()
        return None
