"""Publishing that is done only when the brokers say so."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.events.envelope import MEDIA_TYPE

log = structlog.get_logger()

RETRY_SECONDS: Final = 1.0
"""Between two attempts to reach a broker that has not answered yet."""

CONTENT_TYPE: Final = ("content-type", f"{MEDIA_TYPE}; charset=UTF-8".encode())


class KafkaUnavailable(Exception):
    """The messages are not known to be stored. Sending them again is harmless."""


class Message(NamedTuple):
    """One record: ``key`` decides the partition, ``value`` is a structured CloudEvent."""

    topic: str
    key: str
    value: bytes


class Publisher:
    """An acks=all producer with a bounded wait. It may be entered before Kafka answers: it goes on trying.

    Idempotence is off on purpose: every reader merges duplicates and any order, while an idempotent producer
    that lost a batch to a long outage must be replaced before it can go on.
    """

    def __init__(self, bootstrap: str, *, client_id: str, timeout_seconds: float = 4.0) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._timeout = timeout_seconds
        self._producer: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._connecting = asyncio.create_task(self._connect())
        # A broker that answers does so at once: then the first event need not be told to come again.
        await asyncio.wait([self._connecting], timeout=self._timeout)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._connecting is not None, "enter the publisher first"
        self._connecting.cancel()
        await asyncio.wait([self._connecting])
        if self._producer is not None:
            await self._producer.stop()

    async def _connect(self) -> None:
        while True:
            # Made here, not in __init__: aiokafka binds to the loop that runs.
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                client_id=self._client_id,
                acks="all",
                linger_ms=2,
                max_batch_size=256 * 1024,
                request_timeout_ms=int(self._timeout * 1000),
            )
            try:
                await producer.start()
                self._producer = producer
                return
            except (KafkaError, OSError) as error:
                log.warning("kafka_unreachable", bootstrap=self._bootstrap, retry_in=RETRY_SECONDS, error=type(error).__name__)
            finally:
                if self._producer is not producer:
                    await producer.stop()
            await asyncio.sleep(RETRY_SECONDS)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when every in-sync replica has every message.

        Raises:
            KafkaUnavailable: not so within the time-out; some of the messages may be stored nevertheless.
        """
        if not messages:
            return
        if self._producer is None:
            raise KafkaUnavailable("no broker has answered yet")
        waits: list[asyncio.Future[object]] = []
        try:
            async with asyncio.timeout(self._timeout):
                for message in messages:
                    wait = await self._producer.send(message.topic, message.value, message.key.encode(), headers=[CONTENT_TYPE])
                    waits.append(wait)
                await asyncio.gather(*waits)
        except (TimeoutError, KafkaError, OSError) as error:
            for wait in waits:
                wait.cancel()  # nobody will ask for them any more
            raise KafkaUnavailable(f"{type(error).__name__}: {error}") from error

    async def reachable(self) -> bool:
        """Whether a broker answers now; for readiness."""
        if self._producer is None:
            return False
        try:
            async with asyncio.timeout(2):
                await self._producer.client.fetch_all_metadata()
        except (TimeoutError, KafkaError, OSError):
            return False
        return True
