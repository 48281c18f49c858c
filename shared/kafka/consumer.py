"""A consumer whose loop is ours: raw batches from FastStream, one call a partition, offsets kept by the handler.

FastStream's own acknowledging is not used: it is at-most-once by default, commits whatever was consumed for *all*
partitions, and goes on after a handler's exception (``docs/decisions/0003-own-the-consumer-loop.md``).
"""

import asyncio
import itertools
import time
from collections.abc import Collection, Coroutine, Sequence
from operator import attrgetter
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER

from shared import tracing
from shared.kafka.handler import Halt, PartitionHandler, Record
from shared.kafka.metering import MEASURE_SECONDS, Metering, Reached
from shared.kafka.topic_id import topic_id

log = structlog.get_logger()

DRAIN_SECONDS: Final = 4.0
"""How long a revoked partition's transaction may finish; below the session time-out, or the group stalls."""

COMMIT_EVERY_SECONDS: Final = 1.0
AUDIT_SECONDS: Final = 5.0
"""How often the positions of quiet partitions are compared with what the handler stored."""

GATHER_SECONDS: Final = 0.05
"""What a quiet stream waits for more: a transaction costs the same for one record as for fifty."""

FIRST_BACKOFF_SECONDS: Final = 0.2
LAST_BACKOFF_SECONDS: Final = 5.0


class WentBack(Exception):
    """Records came that are already behind us, as when the topic was cut or made anew: the position is checked again."""


async def _parse(batch: tuple[Record, ...]) -> KafkaMessage:
    # The stock parser decodes each header as UTF-8: one bad header would drop the whole batch.
    return KafkaMessage(body=b"", headers={}, content_type=None, raw_message=batch, consumer=FAKE_CONSUMER)


async def _decode(message: KafkaMessage) -> Any:
    return message.raw_message


class _Lane:
    """One partition's records that wait, and the task that works on them."""

    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Record] = []
        self.task: asyncio.Task[None] | None = None


class PartitionConsumer(ConsumerRebalanceListener):
    """Subscribes ``handler`` to ``topic``: each partition is a lane of its own, from its handler's position on.

    Lanes go on while the next records are fetched; a lane that is slow collects what arrives meanwhile into one larger
    batch. A partition that fails is paused, its position read again, and sought with growing delay; the others go on.
    At most about twice ``max_records`` records are held.
    """

    def __init__(self, broker: KafkaBroker, topic: str, group: str, handler: PartitionHandler, max_records: int = 5000) -> None:
        self.topic = topic
        self.halted: str | None = None
        self.late = 0.0
        """How long the first record of the newest batch had been in the log when it was handled, in seconds."""
        self._handler = handler
        self._metering = Metering(topic, group)
        self._most = max_records
        self._positions: dict[TopicPartition, int] = {}
        self._sought: dict[TopicPartition, int] = {}
        """Whence partitions are fetched of which no record has come yet; a position in ``_positions`` goes before it."""
        self._failures: dict[TopicPartition, int] = {}
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._held = 0
        self._has_store = False
        self._progress = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._audit: asyncio.Task[None] | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._uncommitted: dict[TopicPartition, int] = {}
        """How far partitions are that Kafka has not been told of yet."""
        self._committing: asyncio.Task[None] | None = None
        self._subscriber = broker.subscriber(
            topic,
            batch=True,
            max_records=max_records,
            batch_timeout_ms=500,
            group_id=group,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            isolation_level="read_committed",
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

    async def ends(self) -> dict[int, int]:
        """The offset that the next record of each partition will get, of the whole topic, whosever the partitions are.

        Raises:
            KafkaError: the broker does not answer, or we are not consuming.
        """
        if not self.ready:
            # A client that is still starting would wait for its metadata until it gives up.
            raise KafkaConnectionError("not consuming")
        numbers = await self._consumer._client._wait_on_metadata(self.topic)
        ends = await self._consumer.end_offsets([TopicPartition(self.topic, number) for number in numbers])
        return {partition.partition: end for partition, end in ends.items()}

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        consumer = self._subscriber.consumer
        assert consumer is not None, "called before the broker started"
        return consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        for partition in revoked:
            self._positions.pop(partition, None)
            self._sought.pop(partition, None)
        await self._settle(revoked)
        for partition in revoked:
            # Of the next owner Kafka is told by the next owner, who may be further.
            self._uncommitted.pop(partition, None)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        for partition in assigned:
            self._positions.pop(partition, None)
            self._spawn(self._return(partition, 0.0))
        if self._audit is None:
            self._audit = asyncio.create_task(self._audit_for_ever())
            self._measuring = asyncio.create_task(self._measure_for_ever())

    async def _consume(self, batch: Any) -> None:
        """Hands a fetched batch to the lanes; returns when there is room for the next one.

        FastStream fetches again only when this returns. So a position that is set here is followed by records of that
        very position, and none that were fetched from another one.
        """
        if self.halted is not None:
            await asyncio.sleep(1)
            return
        new: list[TopicPartition] = []
        # A fetched batch holds each partition's records side by side.
        for number, of_partition in itertools.groupby(batch, key=attrgetter("partition")):
            partition = TopicPartition(self.topic, number)
            if partition in self._positions:
                self._enqueue(partition, list(of_partition))
            else:
                # First records since the partition came to us, or since a failure. They may have been fetched from
                # another position than ours, so they are let go and fetched again.
                new.append(partition)
        await asyncio.gather(*map(self._begin, new))
        if len(batch) < self._most // 8:
            await asyncio.sleep(GATHER_SECONDS)
        async with self._progress:
            await self._progress.wait_for(lambda: self._held <= self._most)

    def _enqueue(self, partition: TopicPartition, records: list[Record]) -> None:
        lane = self._lanes.setdefault(partition, _Lane())
        lane.waiting.extend(records)
        self._held += len(records)
        if lane.task is None:
            lane.task = asyncio.create_task(self._work(partition, lane))

    async def _work(self, partition: TopicPartition, lane: _Lane) -> None:
        try:
            while lane.waiting:
                records, lane.waiting = lane.waiting, []
                expected = self._positions.get(partition)
                if expected is not None:
                    await self._take(partition, expected, records)
                self._held -= len(records)
                async with self._progress:
                    self._progress.notify_all()
        finally:
            lane.task = None

    async def _take(self, partition: TopicPartition, expected: int, records: list[Record]) -> None:
        try:
            if records[0].offset < expected:
                raise WentBack(f"offset {records[0].offset} came after {expected - 1}: the client was sent elsewhere in the log")
            with tracing.processing(self.topic, partition.partition, records):
                taken = await self._handler.apply(partition, expected, records)
            if partition in self._positions:
                self._positions[partition] = taken
            self._uncommitted[partition] = taken
            self._failures.pop(partition, None)
            # A sender's clock may be ahead of ours.
            self.late = max(0.0, time.time() - records[0].timestamp / 1000)
            self._metering.took(len(records), self.late)
        except Halt as halt:
            self._halt(partition, halt)
        except Exception as error:
            self._failed(partition, error)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_late())

    async def _drained(self, partitions: Collection[TopicPartition]) -> None:
        working = [lane.task for p, lane in self._lanes.items() if p in partitions and lane.task is not None]
        if working:
            await asyncio.wait(working)

    def _failed(self, partition: TopicPartition, error: Exception) -> None:
        self._positions.pop(partition, None)
        self._metering.failed(error)
        count = self._failures[partition] = self._failures.get(partition, 0) + 1
        delay = min(FIRST_BACKOFF_SECONDS * 2 ** (count - 1), LAST_BACKOFF_SECONDS)
        log.warning(
            "partition_failed", topic=self.topic, partition=partition.partition, attempt=count, retry_in=delay,
            error=type(error).__name__, reason=str(error).partition("\n")[0],
        )  # fmt: skip
        if self._subscriber.consumer is not None and partition in self._consumer.assignment():
            self._consumer.pause(partition)
            self._spawn(self._return(partition, delay))

    def _halt(self, partition: TopicPartition, halt: Halt) -> None:
        self.halted = f"{self.topic}/{partition.partition}: {halt}"
        self._positions.clear()
        self._metering.halted()
        log.critical("consumer_halted", topic=self.topic, partition=partition.partition, what_to_do=str(halt))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _return(self, partition: TopicPartition, delay: float) -> None:
        """Has the partition fetched again, from its position on."""
        await asyncio.sleep(delay)
        if partition not in self._consumer.assignment():
            return
        try:
            # Only moves the fetch position, so that records come at all; `_begin` seeks again before any is trusted.
            position = await self._checked_position(partition)
            if partition in self._consumer.assignment() and partition not in self._positions:
                self._consumer.seek(partition, position)
                self._sought[partition] = position
            if partition in self._consumer.paused():
                self._consumer.resume(partition)
        except Halt as halt:
            self._halt(partition, halt)
        except Exception as error:
            self._failed(partition, error)

    async def _begin(self, partition: TopicPartition) -> None:
        """Reads the partition's position and has it fetched from there; called with no fetch under way."""
        await self._drained([partition])
        try:
            position = await self._checked_position(partition)
        except Halt as halt:
            self._halt(partition, halt)
        except Exception as error:
            self._failed(partition, error)
        else:
            if partition in self._consumer.assignment():
                self._consumer.seek(partition, position)
                self._positions[partition] = position
                self._sought.pop(partition, None)

    async def _checked_position(self, partition: TopicPartition) -> int:
        """The position to go on from.

        Raises:
            Halt: the log does not have it, or is another log.
        """
        found = (await self._look_up([partition]))[partition]
        if isinstance(found, Halt):
            raise found
        return found

    async def _look_up(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int | Halt]:
        """The position of each, or why it cannot go on. All in one go: what is asked of a broker waits behind the fetch under way,
        up to half a second each time."""
        known = await topic_id(self._consumer, self.topic)
        found: dict[TopicPartition, int | Halt | None] = {}
        for partition in partitions:
            try:
                found[partition] = await self._handler.position(partition, known)
            except Halt as halt:
                found[partition] = halt
        self._has_store = None not in found.values()
        begins = await self._consumer.beginning_offsets(list(partitions))
        ends = await self._consumer.end_offsets(list(partitions))  # after the positions, which rise
        return {
            partition: await self._committed(partition, begins[partition])
            if position is None
            else _within(position, begins[partition], ends[partition])
            for partition, position in found.items()
        }

    async def _committed(self, partition: TopicPartition, begins: int) -> int:
        committed = await self._consumer.committed(partition)
        return int(begins if committed is None else committed)

    async def _audit_for_ever(self) -> None:
        """Compares the positions of quiet partitions with those that are stored.

        A database that crashed or was put back may have taken commits back that were confirmed to us. A busy partition
        notices at its next batch; a quiet one would wait for its next event.
        """
        while True:
            await asyncio.sleep(AUDIT_SECONDS)
            positions = {**self._sought, **self._positions}
            try:
                found = await self._look_up(list(positions)) if positions else {}
            except Exception as error:
                log.info("audit_failed", topic=self.topic, error=type(error).__name__)
                continue
            for partition, stored in found.items():
                if isinstance(stored, Halt):
                    self._halt(partition, stored)
                    return
                believed = positions[partition]
                lane = self._lanes.get(partition)
                quiet = lane is None or (lane.task is None and not lane.waiting)
                now = self._positions.get(partition, self._sought.get(partition))
                if quiet and stored != believed and now == believed and self._has_store:
                    log.warning(
                        "commits_taken_back", topic=self.topic, partition=partition.partition, believed=believed, stored=stored
                    )
                    self._positions.pop(partition, None)
                    self._spawn(self._return(partition, 0.0))

    async def _measure_for_ever(self) -> None:
        """Shows how far each of our partitions is, halted ones too: theirs is the position that is stored."""
        while True:
            try:
                mine = self._consumer.assignment()
                ends = await self._consumer.end_offsets(list(mine)) if mine else {}
                self._metering.show({p.partition: Reached(await self._stored(p), end) for p, end in ends.items()})
            except Exception as error:
                log.info("lag_unknown", topic=self.topic, error=type(error).__name__)
            await asyncio.sleep(MEASURE_SECONDS)

    async def _stored(self, partition: TopicPartition) -> int:
        """The partition's position: what we know of it, else what the handler stored, else what Kafka was told."""
        position = self._positions.get(partition)
        if position is None:
            position = await self._handler.position(partition, None)
        if position is None:
            position = await self._consumer.committed(partition)
        return position or 0

    async def _commit_late(self) -> None:
        """In its own time, and again until Kafka took it, so that the last batch before a quiet night is committed too."""
        try:
            while self._uncommitted:
                await asyncio.sleep(COMMIT_EVERY_SECONDS)
                await self._commit()
        finally:
            self._committing = None

    async def _commit(self) -> None:
        """Tells Kafka how far we are. Where the handler stores positions this is for lag tools, for the truth is in its store."""
        consumer = self._subscriber.consumer
        if consumer is None:
            return
        mine = consumer.assignment()
        told = {p: offset for p, offset in self._uncommitted.items() if p in mine}
        try:
            if told:
                await consumer.commit(told)
        except KafkaError as error:
            log.info("kafka_commit_failed", topic=self.topic, error=type(error).__name__)
        else:
            self._uncommitted = {p: offset for p, offset in self._uncommitted.items() if p in mine and told.get(p) != offset}

    async def _settle(self, partitions: Collection[TopicPartition]) -> None:
        """Lets transactions under way end, and tells Kafka of them, in a time that is bounded."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._drained(partitions)
                await self._commit()
        except TimeoutError:
            # The transaction may yet commit: the next owner's compare-and-set decides, not this wait.
            log.warning("drain_cut", topic=self.topic, seconds=DRAIN_SECONDS)

    async def stop(self) -> None:
        """Lets transactions under way end, and commits a last time; call before the broker stops."""
        for task in (*self._tasks, self._audit, self._measuring):
            if task is not None:
                task.cancel()
        self._metering.show({})
        for lane in self._lanes.values():
            self._held -= len(lane.waiting)
            lane.waiting.clear()
        await self._settle(list(self._lanes))
        if self._committing is not None:
            self._committing.cancel()


def _within(position: int | Halt, begins: int, ends: int) -> int | Halt:
    """``position`` where the log has it."""
    if isinstance(position, Halt):
        return position
    if position < begins:
        return Halt(
            f"the next offset wanted is {position}, but the log begins at {begins}: events were removed before they were"
            " counted. Restore the topic, or rebuild from a copy of the log"
        )
    if position > ends:
        return Halt(
            f"the next offset wanted is {position}, but the log ends at {ends}: this is another or a cut topic. Restore it,"
            " or rebuild from the log that is there"
        )
    return position
