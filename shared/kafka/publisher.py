"""Publishing that is done only when the brokers say so."""

import asyncio
import time
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from shared import tracing
from shared.kafka.access import Bootstrap, access_to, client_options, refusal, who
from shared.kafka.lanes import CONTENT_TYPE, Delivery, Lanes, Pair
from shared.kafka.placing import partition_of

__all__ = ["CONTENT_TYPE", "KafkaUnavailable", "Message", "MessagesTooLarge", "Publisher"]

log = structlog.get_logger()

RETRY_SECONDS: Final = 1.0
"""Between two attempts to reach a broker that has not answered yet."""

FORGET_SECONDS: Final = 30.0
"""How long a missing permission makes us unready after it was last felt."""

MOST_BATCH_BYTES: Final = 256 * 1024
MOST_BYTES: Final = 1_000_000
"""Key and value of one message at most: what Kafka takes by default (``message.max.bytes``), less what it adds."""


class KafkaUnavailable(Exception):
    """The messages are not known to be stored. Sending them again is harmless."""


class MessagesTooLarge(Exception):
    """Kafka does not take some of the messages, however often they are sent: ``values`` are theirs. The others are stored."""

    def __init__(self, values: Collection[bytes]) -> None:
        super().__init__(f"{len(values)} of the messages are larger than Kafka takes")
        self.values = frozenset(values)


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

    def __init__(self, bootstrap: Bootstrap, *, client_id: str, timeout_seconds: float = 4.0) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._timeout = timeout_seconds
        self._producer: AIOKafkaProducer | None = None
        self._lanes: Lanes | None = None
        self.refused: str | None = None
        """Why a broker that answers does not let us in, or does not let us write; what to mend."""
        self._forget_at = 0.0
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
                **client_options(self._bootstrap),
                client_id=self._client_id,
                acks="all",
                max_batch_size=MOST_BATCH_BYTES,
                request_timeout_ms=int(self._timeout * 1000),
            )
            try:
                await producer.start()
                self._producer, self._lanes, self.refused = producer, Lanes(producer), None
                return
            except (KafkaError, OSError) as error:
                self.refused = await refusal(self._bootstrap, self._timeout)
                if self.refused is None:
                    log.warning(
                        "kafka_unreachable", bootstrap=str(self._bootstrap), retry_in=RETRY_SECONDS, error=type(error).__name__
                    )
                else:
                    log.error("kafka_refuses_us", what_to_do=self.refused, retry_in=RETRY_SECONDS)
            finally:
                if self._producer is not producer:
                    await producer.stop()
            await asyncio.sleep(RETRY_SECONDS)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when every in-sync replica has every message.

        Raises:
            KafkaUnavailable: not so within the time-out; some of the messages may be stored nevertheless.
            MessagesTooLarge: not so of these, nor ever will be; the others are stored.
        """
        if not messages:
            return
        with tracing.publishing(messages) as headers:
            await self._store(messages, headers)

    async def _store(self, messages: Sequence[Message], headers: tracing.RecordHeaders | None) -> None:
        if self._producer is None or self._lanes is None:
            raise KafkaUnavailable("no broker has answered yet")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        expiry: asyncio.TimerHandle | None = None
        try:
            delivery = Delivery(loop.create_future(), headers)
            by_place = await _placed(self._producer, messages, deadline, delivery.too_large)
            for (topic, partition), pairs in by_place.items():
                self._lanes.put(topic, partition, delivery, pairs)
            expiry = loop.call_at(deadline, delivery.failed, TimeoutError("not confirmed in time"))
            if by_place:
                await delivery.future
        except (TimeoutError, KafkaError, OSError) as error:
            if isinstance(error, TopicAuthorizationFailedError):
                self._may_not_write(error)
            raise KafkaUnavailable(f"{type(error).__name__}: {error}") from error
        finally:
            if expiry is not None:
                expiry.cancel()
        self.refused = None
        if delivery.too_large:
            raise self._too_large(messages, MessagesTooLarge(delivery.too_large))

    def _too_large(self, messages: Sequence[Message], error: MessagesTooLarge) -> MessagesTooLarge:
        found = [message for message in messages if message.value in error.values]
        log.error(
            "messages_too_large", topics=sorted({message.topic for message in found}), messages=len(found),
            bytes=max(len(message.value) for message in found),
            what_to_do=f"no message may have over {MOST_BYTES} bytes; where these have fewer, raise the topic's max.message.bytes",
        )  # fmt: skip
        return error

    def _may_not_write(self, error: TopicAuthorizationFailedError) -> None:
        topic = ", ".join(map(str, error.args))
        user = who(self._bootstrap)
        sentence = f"Kafka at {self._bootstrap} does not let {user} write to {topic}: grant it (docs/kafka-security.md)"
        if sentence != self.refused:  # said once, until it is forgotten
            log.error("kafka_refuses_us", what_to_do=sentence)
        self.refused = sentence
        self._forget_at = time.monotonic() + FORGET_SECONDS

    async def trouble(self) -> str | None:
        """What is wrong between us and Kafka now, as a sentence that says what to mend; for readiness."""
        reachable = await self.reachable()
        if reachable and time.monotonic() >= self._forget_at:
            self.refused = None  # it may have been granted meanwhile: who is not ready gets no work to find out by
        if not reachable and access_to(self._bootstrap).protocol != "PLAINTEXT" and (why := await refusal(self._bootstrap, 2.0)):
            return why
        return self.refused or (None if reachable else f"Kafka does not answer at {self._bootstrap}")

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


async def _placed(
    producer: AIOKafkaProducer, messages: Sequence[Message], deadline: float, too_large: list[bytes]
) -> dict[tuple[str, int], list[Pair]]:
    """The messages by topic and partition, in their order; values that Kafka does not take go to ``too_large`` instead.

    Raises:
        KafkaError: a topic is not known.
        TimeoutError: what topic that is could not be found out before ``deadline``, by the loop's clock.
    """
    placed: dict[tuple[str, int], list[Pair]] = {}
    topic, partitions = "", 0
    for message in messages:
        if message.topic != topic:
            topic = message.topic
            found = producer.client.cluster.partitions_for_topic(topic)
            if found is None:
                async with asyncio.timeout_at(deadline):
                    found = await producer.partitions_for(topic)
            partitions = len(found)
        key, value = message.key.encode(), message.value
        if len(key) + len(value) > MOST_BYTES:
            too_large.append(value)
            continue
        placed.setdefault((topic, partition_of(key, partitions)), []).append((key, value))
    return placed
