"""Records that cannot be counted, between others that can.

What may be observed: each is parked once, under its origin, with its reason and nobody's data; its neighbours are counted;
no record stops a partition. When most of a batch cannot be read, the worker stops and says so.
"""

import copy
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from tests import load
from tests.guarantees.scene import Scene, once, until_halted
from tests.metrics_support import until
from tests.oracle import Event

Header = tuple[str, bytes]
ToPut = tuple[bytes | None, bytes | None, Sequence[Header]]
"""Key, value, headers."""


def _with(event: Event, **data: Any) -> bytes:
    changed = copy.deepcopy(event)
    changed["data"].update(data)
    return orjson.dumps(changed)


def _poison(good: Event) -> dict[str, bytes | None]:
    """A record of each kind that cannot be counted; ``good`` is an event with a step, an item and a county."""
    upsert = copy.deepcopy(good)
    upsert["data"]["operation"] = "upsert"
    return {
        "no value": None,
        "empty": b"",
        "no JSON": b"{broken",
        "no UTF-8": b'{"id": "\xff\xfe"}',
        "deep": b"[" * 20_000,
        "null": b"null",
        "a list": b"[1, 2]",
        "a text": b'"case"',
        "a number": b"1e400",
        "a lone surrogate": orjson.dumps(upsert).replace(b'"source":"urn', b'"source":"\\ud800urn'),
        "NUL in the case number": _with(upsert, case_no="a\u0000b"),
        "a line's end in the case number": _with(upsert, case_no="ab\n"),
        "another type": orjson.dumps(upsert | {"type": "cn.onething.installation.step.v1"}),
        "no type": orjson.dumps({name: value for name, value in upsert.items() if name != "type"}),
        "data is a list": orjson.dumps(upsert | {"data": [1]}),
        "data is null": orjson.dumps(upsert | {"data": None}),
        "id is a number": orjson.dumps(upsert | {"id": 7}),
        "id is long": orjson.dumps(upsert | {"id": "x" * 129}),
        "source is an object": orjson.dumps(upsert | {"source": {}}),
        "unknown county": _with(upsert, county="110101"),
        "county is a list": _with(upsert, county=["130607"]),
        "unknown item": _with(upsert, item="no-such-thing"),
        "unknown step": _with(upsert, step="pondered"),
        "step is an object": _with(upsert, step={}),
        "unknown operation": _with(upsert, operation="explode"),
        "unknown channel": _with(upsert, channel="pigeon"),
        "version is a text": _with(upsert, data_version="1"),
        "version is true": _with(upsert, data_version=True),
        "version is huge": _with(upsert, data_version=2**40),
        "version is 0": _with(upsert, data_version=0),
        "recorded_at is a number": _with(upsert, recorded_at=1_700_000_000),
        "recorded_at has no zone": _with(upsert, recorded_at="2024-05-01T00:00:00"),
        "recorded_at is no date": _with(upsert, recorded_at="2024-02-30T00:00:00Z"),
        "occurred_at is missing": _with(upsert, occurred_at=None),
        "occurred_at ends time": _with(upsert, occurred_at="9999-12-31T23:59:59Z"),
        "occurred_at begins time": _with(upsert, occurred_at="0001-01-01T00:00:00+14:00"),
        "promised_on is no day": _with(upsert, promised_on="2024-02-30"),
        "promised_on in other digits": _with(upsert, promised_on="٢٠٢٤-٠٩-٠١"),
        "promised_on with a line's end": _with(upsert, promised_on="2024-09-01\n"),
        "promised_on is a number": _with(upsert, promised_on=20240901),
        "services is a number": _with(upsert, services=5),
        "900 KB": b'{"data": "' + b"x" * 900_000 + b'"}',
    }


async def _put(scene: Scene, topic: str, records: Sequence[ToPut]) -> list[str]:
    """Produces records of key, value and headers; gives their origins."""
    async with AIOKafkaProducer(bootstrap_servers=scene.kafka, max_request_size=2**20) as producer:
        sent = [await producer.send(topic, value, key, headers=list(headers)) for key, value, headers in records]
        stored = [await one for one in sent]
    return [f"{one.topic}/{one.partition}/{one.offset}" for one in stored]


async def _parked(scene: Scene) -> list[Any]:
    return [orjson.loads(record.value or b"") for record in await scene.records(scene.topics.parked)]


def _placed(event: Event) -> bool:
    return event["data"].get("step") is not None and event["data"].get("county") is not None


async def test_each_kind_of_poison_is_parked_once_and_its_neighbours_are_counted(scene: Scene) -> None:
    draw = random.Random(91)
    distinct, arriving = load.season(91, cases=900)
    kinds = _poison(next(event for event in arriving if _placed(event)))
    bad: list[Header] = [("content-type", b"\xff\xfe\x00"), ("", b"")]
    told = Counter(event["subject"] for event in arriving)
    records: list[tuple[str, ToPut]] = [
        # Good ones too come with unreadable headers; and without a key, where the case has no other event.
        ("", (None if told[event["subject"]] == 1 else event["subject"].encode(), orjson.dumps(event), bad if n % 7 == 0 else []))
        for n, event in enumerate(arriving)
    ]
    for kind, value in kinds.items():
        records.insert(draw.randrange(len(records)), (kind, (draw.choice([None, b"\xff", b"key"]), value, bad if value else [])))
    origins = await _put(scene, scene.topics.case_events, [record for _, record in records])
    expected = {origin: kind for origin, (kind, _) in zip(origins, records, strict=True) if kind}
    worker = await scene.worker()
    await scene.until_taken(len(records), 40)
    parked = await _parked(scene)
    found = [expected.get(record["subject"], record["subject"]) for record in parked]
    assert sorted(found) == sorted(kinds)
    assert len({record["id"] for record in parked}) == len(kinds)
    assert {record["data"]["reason"] for record in parked} == {"malformed"}
    await scene.exact(distinct)
    assert "partition_failed" not in worker.log


async def test_poison_met_again_after_a_crash_is_parked_under_the_same_id(scene: Scene) -> None:
    distinct, arriving = load.season(92, cases=300)
    broken: list[ToPut] = [(b"%d" % n, b"{broken %d" % n, []) for n in range(40)]
    good: list[ToPut] = [(event["subject"].encode(), orjson.dumps(event), []) for event in arriving]
    mixed = [record for n, one in enumerate(good) for record in ([one, broken[n // 9]] if n % 9 == 8 and n // 9 < 40 else [one])]
    origins = await _put(scene, scene.topics.case_events, mixed)
    expected = {origin for origin, (_, value, _) in zip(origins, mixed, strict=True) if value in {one[1] for one in broken}}
    worker = await scene.worker_of_its_own(BATCH_RECORDS="30")
    for _ in range(2):
        await once(scene.taken)
        worker.kill()
        worker = await scene.worker_of_its_own(BATCH_RECORDS="30")
    await scene.until_taken(len(mixed))
    parked = await _parked(scene)
    assert {record["subject"] for record in parked} == expected
    assert len({record["id"] for record in parked}) == len(expected)
    await scene.exact(distinct)


async def test_a_batch_that_is_mostly_poison_stops_the_worker_instead_of_parking_the_world(scene: Scene) -> None:
    distinct, arriving = load.season(93, cases=100)
    worker = await scene.worker()
    await scene.send(arriving)
    await scene.until_taken(len(arriving))
    before = await scene.positions()
    await _put(scene, scene.topics.case_events, [(b"one key", b"{broken", []) for _ in range(50)])
    said = await until_halted(worker)
    assert "50 of 50 records are unusable" in said
    assert await scene.positions() == before
    assert await _parked(scene) == []
    await scene.exact(distinct)


def _snapshot(**data: Any) -> bytes:
    content = {"kind": "presence", "subject": "130607/water-1/water", "version": 1, "deleted": False, "state": {}} | data
    return orjson.dumps({"specversion": "1.0", "id": "1", "source": "urn:test", "type": "cn.onething.progress.v1", "data": content})


async def test_snapshots_that_cannot_be_kept_are_parked_and_the_next_one_is_kept(scene: Scene) -> None:
    bad = [
        b"{broken",
        _snapshot().replace(b"progress.v1", b"parked.v1"),
        _snapshot(version=2**63),
        _snapshot(version="new"),
        _snapshot(state=[1]),
        _snapshot(subject="a\u0000b"),
        _snapshot(state={"name": "a\u0000b"}),
    ]
    good = _snapshot(subject="130607/gas-1/gas", state={"level": "none"})
    origins = await _put(scene, scene.topics.progress, [(b"one key", value, []) for value in (*bad, None, good)])
    worker = await scene.worker()

    async def kept() -> bool:
        return bool(await scene.query("select 1 from snapshots where subject = '130607/gas-1/gas'"))

    await until(kept, 30)
    assert {record["subject"] for record in await _parked(scene)} == set(origins[: len(bad)])
    assert "partition_failed" not in worker.log
