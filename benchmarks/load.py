"""The workload: case events as intake publishes them, seeded, with what the figures must come to.

A case's three steps lie far apart: all ``applied`` first, in any order, then all ``accepted``, then all ``completed``. Case
numbers are random, so that neither heap nor index has a warm end. What the counters must hold is known from how the events were
drawn; no rule of the service is used for it.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple, TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from shared.counties import ROSTER
from shared.events.case import TYPE
from shared.kafka.publisher import CONTENT_TYPE
from shared.kafka.topics import PARTITIONS

SOURCE: Final = "urn:onething:province:hebei"
ITEMS: Final = ("disabled-service", "credit-repair", "newborn", "retirement")
PROBE_ITEM: Final = "school-enrolment"
"""An item that the workload leaves alone, for probes whose arrival is looked for."""
STEPS: Final = ("applied", "accepted", "completed")
FIRST_DAY: Final = date(2024, 3, 25)
DAYS: Final = 190
_CHANNELS: Final = ("window", "web", "mobile")
_DATES: Final = tuple((FIRST_DAY + timedelta(days=day)).isoformat() for day in range(DAYS + 30))

Cell: TypeAlias = tuple[str, str, date, str]
"""(item, county, day, measure)"""


class Case(NamedTuple):
    """One case. Days are counted from :data:`FIRST_DAY`, a day for each of :data:`STEPS`."""

    number: str
    county: str
    item: str
    channel: str
    days: tuple[int, int, int]
    promised: int
    partition: int


class Event(NamedTuple):
    """One record to be. ``step`` is a place in :data:`STEPS`."""

    case: Case
    step: int
    value: bytes

    @property
    def key(self) -> bytes:
        return self.case.number.encode()


def partition_of(key: bytes) -> int:
    """Where Kafka's own clients put this key."""
    return int((murmur2(key) & 0x7FFFFFFF) % PARTITIONS)


class Workload:
    """``events`` events of ``cases`` cases. :attr:`expected` is what the counters must hold once all of them are counted."""

    def __init__(self, seed: int, events: int, cases: int) -> None:
        if not 0 < cases <= events <= len(STEPS) * cases:
            raise ValueError(f"{events} events of {cases} cases: a case has one to {len(STEPS)} events")
        self.size = events
        self._draw = random.Random(seed)
        self.cases = [_case(self._draw) for _ in range(cases)]
        self._seed = seed

    def events(self) -> Iterator[Event]:
        """The events in the order in which they are published, the same at each call."""
        draw = random.Random(self._seed + 1)
        told = 0
        for step in range(len(STEPS)):
            order = self.cases.copy()
            draw.shuffle(order)
            for case in order[: self.size - told]:
                yield Event(case, step, encoded(case, step, draw.getrandbits(152)))
            told += len(order)
            if told >= self.size:
                return

    def expected(self, told: int | None = None) -> Counter[Cell]:
        """Every counter that is not zero, once the first ``told`` events are counted; all of them without it."""
        cells: Counter[Cell] = Counter()
        for case, step, _ in itertools.islice(self.events(), told):
            day = FIRST_DAY + timedelta(days=case.days[step])
            measures = [STEPS[step]]
            if step == 0:
                measures += ["handled", "online"] if case.channel != "window" else ["handled"]
            elif step == 2 and case.days[2] <= case.promised:
                measures.append("completed_on_time")
            for measure in measures:
                cells[case.item, case.county, day, measure] += 1
        return cells


def _case(draw: random.Random) -> Case:
    number = f"{draw.getrandbits(176):044X}"
    applied = draw.randrange(DAYS - 25)
    accepted = applied + draw.randrange(5)
    completed = accepted + draw.randrange(20)
    return Case(
        number, draw.choice(ROSTER).code, draw.choice(ITEMS), draw.choice(_CHANNELS), (applied, accepted, completed), applied + 15,
        partition_of(number.encode()),
    )  # fmt: skip


def encoded(case: Case, step: int, nonce: int) -> bytes:
    """The event as intake publishes it, to the byte (a test holds it to ``shared.events``), at a tenth of the cost.

    ``nonce`` (up to 152 bits) makes the id, and the time of day.
    """
    day = _DATES[case.days[step]]
    # Within the day in Shanghai and in UTC alike. Steps of one day keep their order by the hour.
    second = nonce % 3600
    at = f"{day}T{1 + 2 * step:02d}:{second // 60:02d}:{second % 60:02d}"
    occurred, recorded = f"{at}.{1 + nonce % 499_999:06d}Z", f"{at}.{500_000 + nonce % 499_999:06d}Z"
    more = '"outcome":"granted",' if step == 2 else ""
    promised = f',"promised_on":"{_DATES[case.promised]}"' if step == 0 else ""
    return (
        f'{{"specversion":"1.0","id":"{case.number}.{STEPS[step]}.{nonce:038x}","source":"{SOURCE}","type":"{TYPE}",'
        f'"subject":"{case.number}","time":"{recorded}","datacontenttype":"application/json","data":{{"case_no":"{case.number}",'
        f'"item":"{case.item}","county":"{case.county}","step":"{STEPS[step]}",{more}"occurred_at":"{occurred}",'
        f'"recorded_at":"{recorded}","data_version":1,"operation":"upsert","channel":"{case.channel}"{promised}}}}}'
    ).encode()


class Probe(NamedTuple):
    """A case on a day of its own, of an item that nobody else has: one figure shows it, and nothing but it."""

    event: Event
    day: date

    def cells(self) -> list[Cell]:
        """The counters that it moves."""
        return [(PROBE_ITEM, self.event.case.county, self.day, measure) for measure in ("handled", "applied")]


def probe(number: int) -> Probe:
    """The probe of day ``number`` of the season."""
    case_no = f"PROBE-{number}"
    case = Case(case_no, ROSTER[0].code, PROBE_ITEM, "window", (number, number, number), number, partition_of(case_no.encode()))
    return Probe(Event(case, 0, encoded(case, 0, number + 1)), FIRST_DAY + timedelta(days=number))


Advance: TypeAlias = Callable[[int], object]
"""Told how many more are done."""


async def publish(bootstrap: str, topic: str, events: Iterator[Event], advance: Advance = lambda _: None) -> int:
    """Publishes all, fast: batches are made here, a partition each. Returns the bytes of keys, values and headers."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=256 * 1024, request_timeout_ms=60_000)
    await producer.start()
    size = 0
    try:
        batches = [producer.create_batch() for _ in range(PARTITIONS)]
        for event in events:
            key, partition = event.key, event.case.partition
            size += len(key) + len(event.value) + len(CONTENT_TYPE[0]) + len(CONTENT_TYPE[1])
            if _append(batches[partition], key, event.value):
                continue
            advance(batches[partition].record_count())
            # Waits while the partition's earlier batch is under way: so little is held at once.
            await producer.send_batch(batches[partition], topic, partition=partition)
            batches[partition] = producer.create_batch()
            assert _append(batches[partition], key, event.value), "an event is larger than a batch"
        for partition, batch in enumerate(batches):
            if batch.record_count():
                advance(batch.record_count())
                await producer.send_batch(batch, topic, partition=partition)
    finally:
        # Sends what is left, and waits for the broker's word.
        await producer.stop()
    return size


def _append(batch: object, key: bytes, value: bytes) -> bool:
    return batch.append(key=key, value=value, timestamp=None, headers=[CONTENT_TYPE]) is not None  # type: ignore[attr-defined]


def batched(events: Iterator[Event], size: int) -> Iterator[Sequence[Event]]:
    """``events`` in groups of ``size``, the last one shorter."""
    group: list[Event] = []
    for event in events:
        group.append(event)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
