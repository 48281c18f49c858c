"""A consumer whose loop is ours: raw batches from FastStream, one call a partition, offsets kept by the handler.

FastStream's own acknowledging is not used: it is at-most-once by default, commits whatever was consumed for *all*
partitions, and goes on after a handler's exception (``docs/decisions/0003-own-the-consumer-loop.md``).
"""

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER

log = structlog.get_logger()

Record = ConsumerRecord[bytes | None, bytes | None]

DRAIN_SECONDS: Final = 4.0
"""How long a revoked partition's transaction may finish; below the session time-out, or the group stalls."""

COMMIT_EVERY_SECONDS: Final = 1.0
FIRST_BACKOFF_SECONDS: Final = 0.2
LAST_BACKOFF_SECONDS: Final = 5.0


class Halt(Exception):
    """Going on would lose or double events. The message says what to do; the consumer stays stopped."""


async def start_patiently(broker: KafkaBroker) -> None:
    """Starts ``broker`` and its subscribers, trying again until Kafka answers."""
    while True:
        try:
            await broker.start()
        except (KafkaError, OSError) as error:
            log.warning("kafka_unreachable", retry_in=LAST_BACKOFF_SECONDS / 5, error=type(error).__name__)
            await broker.stop()
            await asyncio.sleep(LAST_BACKOFF_SECONDS / 5)
        else:
            return


class PartitionHandler(Protocol):
    """What a service does with one partition's records, and where it remembers how far it is."""

    async def position(self, partition: TopicPartition) -> int | None:
        """The next offset wanted, from the handler's own store; ``None`` where Kafka's committed offset rules."""

    async def apply(self, partition: TopicPartition, expected: int, records: Sequence[Record]) -> int:
        """Takes records from ``expected`` on, all or nothing, and returns the next offset wanted.

        Raises:
            Halt: going on would be wrong.
            Exception: nothing was taken, or that is not known; the position is read again and the records come back.
        """


async def _parse(batch: tuple[Record, ...]) -> KafkaMessage:
    # The stock parser decodes each header as UTF-8: one bad header would drop the whole batch.
    return KafkaMessage(body=b"", headers={}, content_type=None, raw_message=batch, consumer=FAKE_CONSUMER)


async def _decode(message: KafkaMessage) -> Any:
    return message.raw_message


class PartitionConsumer(ConsumerRebalanceListener):
    """Subscribes ``handler`` to ``topic``: partitions of a batch run side by side, each from its handler's position.

    A partition that fails is paused, its position read again, and sought with growing delay; the others go on.
    """

    def __init__(self, broker: KafkaBroker, topic: str, group: str, handler: PartitionHandler, max_records: int = 5000) -> None:
        self.topic = topic
        self.halted: str | None = None
        self._handler = handler
        self._positions: dict[TopicPartition, int] = {}
        self._failures: dict[TopicPartition, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._commit_due = False
        self._subscriber = broker.subscriber(
            topic,
            batch=True,
            max_records=max_records,
            batch_timeout_ms=500,
            group_id=group,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            session_timeout_ms=6000,
            heartbeat_interval_ms=1500,
            max_partition_fetch_bytes=2 * 1024 * 1024,
            listener=self,
            parser=_parse,
            decoder=_decode,
            no_reply=True,
        )
        self._subscriber(self._consume)

    @property
    def ready(self) -> bool:
        """Whether it is a member of its group, and not halted."""
        consumer = self._subscriber.consumer
        return consumer is not None and self.halted is None and bool(self._subscriber.running)

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        consumer = self._subscriber.consumer
        assert consumer is not None, "called before the broker started"
        return consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        for partition in revoked:
            self._positions.pop(partition, None)
        try:
            await asyncio.wait_for(self._idle.wait(), DRAIN_SECONDS)
        except TimeoutError:
            # The transaction may yet commit: the next owner's compare-and-set decides, not this wait.
            log.warning("drain_cut", topic=self.topic, seconds=DRAIN_SECONDS)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        for partition in assigned:
            self._positions.pop(partition, None)
            self._spawn(self._return(partition, 0.0))

    async def _consume(self, batch: Any) -> None:
        if self.halted is not None:
            await asyncio.sleep(1)
            return
        lanes: dict[TopicPartition, list[Record]] = {}
        for record in batch:
            lanes.setdefault(TopicPartition(record.topic, record.partition), []).append(record)
        self._idle.clear()
        try:
            await asyncio.gather(*(self._run(partition, records) for partition, records in lanes.items()))
        finally:
            self._idle.set()
        if not self._commit_due:
            # In its own time, so that the last batch before a quiet night is committed too.
            self._commit_due = True
            self._spawn(self._commit_late())

    async def _run(self, partition: TopicPartition, records: list[Record]) -> None:
        try:
            expected = self._positions.get(partition)
            if expected is None:
                # First records since the partition came to us, or since a failure. They may have been fetched from
                # another position than ours, so they are let go and fetched again.
                await self._seek(partition)
                return
            wanted = [record for record in records if record.offset >= expected]
            if wanted:
                taken = await self._handler.apply(partition, expected, wanted)
                if partition in self._positions:
                    self._positions[partition] = taken
            self._failures.pop(partition, None)
        except Halt as halt:
            self._halt(partition, halt)
        except Exception as error:
            self._failed(partition, error)

    def _failed(self, partition: TopicPartition, error: Exception) -> None:
        self._positions.pop(partition, None)
        count = self._failures[partition] = self._failures.get(partition, 0) + 1
        delay = min(FIRST_BACKOFF_SECONDS * 2 ** (count - 1), LAST_BACKOFF_SECONDS)
        log.warning(
            "partition_failed", topic=self.topic, partition=partition.partition, attempt=count, retry_in=delay,
            error=type(error).__name__, reason=str(error).partition("\n")[0],
        )  # fmt: skip
        if partition in self._consumer.assignment():
            self._consumer.pause(partition)
            self._spawn(self._return(partition, delay))

    def _halt(self, partition: TopicPartition, halt: Halt) -> None:
        self.halted = f"{self.topic}/{partition.partition}: {halt}"
        log.critical("consumer_halted", topic=self.topic, partition=partition.partition, what_to_do=str(halt))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _return(self, partition: TopicPartition, delay: float) -> None:
        await asyncio.sleep(delay)
        if partition not in self._consumer.assignment():
            return
        try:
            # Only moves the fetch position, so that records come at all; `_run` seeks again before it trusts any.
            position = await self._handler.position(partition)
            if position is None:
                position = await self._kafkas_position(partition)
            if partition in self._consumer.assignment() and partition not in self._positions:
                self._consumer.seek(partition, position)
            if partition in self._consumer.paused():
                self._consumer.resume(partition)
        except Exception as error:
            self._failed(partition, error)

    async def _kafkas_position(self, partition: TopicPartition) -> int:
        committed = await self._consumer.committed(partition)
        if committed is None:
            committed = (await self._consumer.beginning_offsets([partition]))[partition]
        return int(committed)

    async def _seek(self, partition: TopicPartition) -> None:
        position = await self._handler.position(partition)
        if position is None:
            position = await self._kafkas_position(partition)
        else:
            begins = (await self._consumer.beginning_offsets([partition]))[partition]
            ends = (await self._consumer.end_offsets([partition]))[partition]
            if position < begins:
                raise Halt(
                    f"the next offset wanted is {position}, but the log begins at {begins}: events were removed before they"
                    " were counted. Restore the topic, or rebuild from a copy of the log"
                )
            if position > ends:
                raise Halt(
                    f"the next offset wanted is {position}, but the log ends at {ends}: this is another or a cut topic."
                    " Restore it, or rebuild from the log that is there"
                )
        if partition in self._consumer.assignment():
            self._consumer.seek(partition, position)
            self._positions[partition] = position

    async def _commit_late(self) -> None:
        await asyncio.sleep(COMMIT_EVERY_SECONDS)
        self._commit_due = False
        await self.commit()

    async def commit(self) -> None:
        """Tells Kafka how far we are, for lag tools; best effort, for the truth is in the handler's store."""
        offsets = {p: offset for p, offset in self._positions.items() if p in self._consumer.assignment()}
        try:
            if offsets:
                await self._consumer.commit(offsets)
        except KafkaError as error:
            log.info("kafka_commit_failed", topic=self.topic, error=type(error).__name__)

    async def stop(self) -> None:
        """A last commit; call before the broker stops."""
        for task in self._tasks:
            task.cancel()
        if self._subscriber.consumer is not None:
            await self.commit()
