"""Publishing that is done only when the brokers say so."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.events.envelope import MEDIA_TYPE

CONTENT_TYPE: Final = ("content-type", f"{MEDIA_TYPE}; charset=UTF-8".encode())


class KafkaUnavailable(Exception):
    """The messages are not known to be stored. Sending them again is harmless."""


class Message(NamedTuple):
    """One record: ``key`` decides the partition, ``value`` is a structured CloudEvent."""

    topic: str
    key: str
    value: bytes


class Publisher:
    """An acks=all producer with a bounded wait.

    Idempotence is off on purpose: every reader merges duplicates and any order, while an idempotent producer
    that lost a batch to a long outage must be replaced before it can go on.
    """

    def __init__(self, bootstrap: str, *, client_id: str, timeout_seconds: float = 4.0) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._timeout = timeout_seconds
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        # Made here, not in __init__: aiokafka binds to the loop that runs.
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            acks="all",
            linger_ms=2,
            max_batch_size=256 * 1024,
            request_timeout_ms=int(self._timeout * 1000),
        )
        await self._producer.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when every in-sync replica has every message.

        Raises:
            KafkaUnavailable: not so within the time-out; some of the messages may be stored nevertheless.
        """
        if not messages:
            return
        assert self._producer is not None, "enter the publisher first"
        try:
            async with asyncio.timeout(self._timeout):
                waits = [
                    await self._producer.send(message.topic, message.value, message.key.encode(), headers=[CONTENT_TYPE])
                    for message in messages
                ]
                await asyncio.gather(*waits)
        except (TimeoutError, KafkaError, OSError) as error:
            raise KafkaUnavailable(f"{type(error).__name__}: {error}") from error

    async def reachable(self) -> bool:
        """Whether a broker answers now; for readiness."""
        assert self._producer is not None, "enter the publisher first"
        try:
            async with asyncio.timeout(2):
                await self._producer.client.fetch_all_metadata()
        except (TimeoutError, KafkaError, OSError):
            return False
        return True
