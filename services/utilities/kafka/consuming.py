"""The worker's subscriptions: what companies report, and the cases of joint installation."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from aiokafka import TopicPartition
from faststream.kafka import KafkaBroker

from services.utilities.domain import joint_cases
from services.utilities.domain.joint_cases import CaseKey
from services.utilities.domain.judging import SHOWN_FIELDS, parse, read
from services.utilities.domain.limits import TimeLimits
from services.utilities.handlers import joint, taking
from services.utilities.handlers.joint import CaseBatch
from services.utilities.handlers.taking import Batch
from shared import meters, offsets
from shared.clock import Clock, now
from shared.kafka import Halt, Message, PartitionConsumer, Publisher, Record, Topics
from shared.parking import Digest, count_parked, parked_event
from shared.postgres import Pool
from shared.unusable import MostlyUnusable, Watch
from shared.verdicts import Refusal, Rejected, event_id_of


async def _position(pool: Pool, partition: TopicPartition, topic_id: UUID | None) -> int:
    async with pool.acquire() as db:
        try:
            return await offsets.position(db, partition.topic, partition.partition, topic_id)
        except offsets.OtherTopic as error:
            raise Halt(str(error)) from error


class UtilityEvents:
    """A partition's way into the database; the offset lives there."""

    def __init__(
        self,
        pool: Pool,
        publisher: Publisher,
        topics: Topics,
        limits: TimeLimits,
        changed: asyncio.Event,
        clock: Clock = now,
        *,
        watch: Watch | None = None,
        digest: Digest | None = None,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._topics = topics
        self._limits = limits
        self._changed = changed
        self._clock = clock
        self._watch = watch or Watch()
        self._digest = digest or Digest()

    async def position(self, partition: TopicPartition, topic_id: UUID | None) -> int:
        return await _position(self._pool, partition, topic_id)

    async def apply(self, partition: TopicPartition, expected: int, records: Sequence[Record]) -> int:
        following = int(records[-1].offset) + 1
        batch = Batch(partition.topic, partition.partition, expected, following)
        unusable: dict[int, Message] = {}
        reasons: list[str] = []
        for record in records:
            try:
                batch.add(*read(record.value))
            except Refusal as refusal:
                unusable[record.offset] = self._parked(record, refusal)
                reasons.append(refusal.reason)
        try:
            self._watch.check(partition.partition, expected, records, unusable.keys())
        except MostlyUnusable as error:
            raise Halt(str(error)) from None
        await self._publisher.publish(list(unusable.values()))
        count_parked("utilities", reasons)
        try:
            changed = await taking.take(self._pool, batch, self._limits, self._clock())
        except taking.OtherLimits as error:
            raise Halt(str(error)) from error
        if changed:
            self._changed.set()
        return following

    def _parked(self, record: Record, refusal: Refusal) -> Message:
        try:
            item = parse(record.value)
        except Refusal:
            item = None
        origin = f"{record.topic}/{record.partition}/{record.offset}"
        value = parked_event(
            service="utilities", origin=origin, verdict=Rejected(event_id_of(item), refusal.reason, refusal.errors),
            raw=record.value or b"", item=item, fields=SHOWN_FIELDS, sender=None, at=self._clock(),
            digest=self._digest,
        )  # fmt: skip
        return Message(self._topics.parked, origin, value)


class CaseEvents:
    """A partition's way into the cases of joint installation. Nearly all records are of other items, and passed over.

    What cannot be read is passed over too: metrics reads the same topic, and parks it.
    """

    def __init__(self, pool: Pool, changed: asyncio.Event) -> None:
        self._pool = pool
        self._changed = changed

    async def position(self, partition: TopicPartition, topic_id: UUID | None) -> int:
        return await _position(self._pool, partition, topic_id)

    async def apply(self, partition: TopicPartition, expected: int, records: Sequence[Record]) -> int:
        following = int(records[-1].offset) + 1
        wanted: list[bytes | None] = []
        elsewhere: dict[CaseKey, list[bytes | None]] = defaultdict(list)
        for record in records:
            if joint_cases.may_matter(record.value):
                wanted.append(record.value)
            elif (key := joint_cases.key_of(record.value)) is not None:
                elsewhere[key].append(record.value)
        batch = CaseBatch(partition.topic, partition.partition, expected, following)
        _read_cases(batch, wanted)
        # An event of another item matters to a case that is known here: its item was corrected.
        keys = {CaseKey(event.data.source, event.data.case_no) for event in batch.events}
        known = keys | await joint.of_known_cases(self._pool, list(elsewhere))
        for key in known & elsewhere.keys():
            _read_cases(batch, elsewhere[key])
        changed = await joint.take_cases(self._pool, batch)
        if changed:
            self._changed.set()
        return following


def _read_cases(batch: CaseBatch, values: Sequence[bytes | None]) -> None:
    for value in values:
        try:
            batch.events.append(joint_cases.read(value))
        except Refusal:
            meters.UNREADABLE_CASES.inc()


def subscribe(
    broker: KafkaBroker, topics: Topics, events: UtilityEvents, cases: CaseEvents, batch_records: int
) -> list[PartitionConsumer]:
    """The worker's consumers; call before the broker starts."""
    return [
        PartitionConsumer(broker, topics.utility_events, topics.group("utilities"), events, batch_records),
        PartitionConsumer(broker, topics.case_events, topics.group("utilities-cases"), cases, batch_records),
    ]
