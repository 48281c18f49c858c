"""What intake promises, on real processes and a real Kafka."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.kafka import Message, Publisher, Topics
from shared.kafka.topics import PARTITIONS
from tests.conftest import Credentials, Services
from tests.intake_support import SENDER, changed, event, push
from tests.utilities_support import events_of, records_of, until

PEOPLE = {"name": "张三", "id_no": "130602199001011234"}


async def _send(kafka: str, topic: str, values: Sequence[bytes]) -> None:
    async with Publisher(kafka, client_id="test", timeout_seconds=20) as publisher:
        await publisher.publish([Message(topic, f"k{number}", value) for number, value in enumerate(values)])


async def _ends(kafka: str, topic: str) -> list[int]:
    async with AIOKafkaConsumer(bootstrap_servers=kafka) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        ends = await consumer.end_offsets(partitions)
        return [ends[partition] for partition in partitions]


async def _committed(kafka: str, topics: Topics) -> list[int]:
    """How far Kafka knows the pushed records to be taken, by partition."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka, group_id=topics.group("intake"), enable_auto_commit=False) as consumer:
        return [await consumer.committed(TopicPartition(topics.province_push, number)) or 0 for number in range(PARTITIONS)]


async def test_the_way_of_one_event_from_the_signed_push_to_the_case_events(
    service: Services, kafka: str, topics: Topics, credentials: Credentials
) -> None:
    api = await service("intake", "api")
    sent = event("e-1", "BD-1", county="130622", applicant=PEOPLE)
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
        answer = await push(client, credentials.senders[SENDER], sent)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    [record] = await records_of(kafka, topics.case_events)
    assert record.key == b"BD-1"
    assert orjson.loads(record.value or b"") == {
        "specversion": "1.0",
        "id": "e-1",
        "source": "urn:onething:province:hebei",
        "type": "cn.onething.case.step.v1",
        "subject": "BD-1",
        "datacontenttype": "application/json",
        "data": {
            "case_no": "BD-1",
            "item": "disabled-service",
            "county": "130608",
            "step": "applied",
            "occurred_at": "2024-09-30T01:00:00Z",
            "recorded_at": "2024-09-30T01:00:01.000002Z",
            "data_version": 1,
            "operation": "upsert",
        },
    }
    assert api.terminate()


async def test_an_oversized_body_in_chunks_is_answered_by_the_real_server_too(service: Services, credentials: Credentials) -> None:
    api = await service("intake", "api")
    lots = event(applicant={"note": "x" * 6_000_000})
    async with httpx.AsyncClient(base_url=api.url, trust_env=False, timeout=20) as client:
        answer = await push(client, credentials.senders[SENDER], lots)
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
        assert (await push(client, credentials.senders[SENDER], event())).status_code == 202


async def test_killed_midway_every_record_is_published_or_parked_and_the_offset_follows(
    service: Services, kafka: str, topics: Topics
) -> None:
    total = 6000
    good = {n: event(f"e-{n}", f"BD{n % 700}") for n in range(total) if n % 3}
    broken: dict[int, bytes] = {}
    for n in range(0, total, 3):
        unusable: list[Any] = [event(f"e-{n}", county="130102"), changed(event(f"e-{n}"), source="urn:x"), [n], "x"]
        broken[n] = orjson.dumps(unusable[n % 4]) if n % 5 else b"{broken" + str(n).encode()
    values = [broken[n] if n in broken else orjson.dumps(good[n]) for n in range(total)]
    worker = await service("intake", "worker", ONETHING_BATCH_RECORDS="60")
    sending = asyncio.create_task(_send(kafka, topics.province_push, values))

    async def done() -> int:
        return sum(await _ends(kafka, topics.case_events)) + sum(await _ends(kafka, topics.parked))

    for share in (0.1, 0.5):

        async def reached(share: float = share) -> bool:
            return await done() >= share * total

        await until(reached)
        worker.kill()
        assert await done() < total
        await worker.restart()
    await sending

    ends = await _ends(kafka, topics.province_push)
    assert sum(ends) == total

    async def followed() -> bool:
        return await _committed(kafka, topics) == ends

    await until(followed)
    published = events_of(await records_of(kafka, topics.case_events))
    assert {e["id"] for e in published} == {e["id"] for e in good.values()}
    parked = {e["data"]["origin"]: e["data"] for e in events_of(await records_of(kafka, topics.parked))}
    raw = {f"{r.topic}/{r.partition}/{r.offset}": r.value for r in await records_of(kafka, topics.province_push)}
    unusable_values = {*broken.values()}
    assert parked.keys() == {origin for origin, value in raw.items() if value in unusable_values}
    for origin, data in parked.items():
        value = raw[origin] or b""
        assert data["length"] == len(value)
        if value.startswith(b"{broken"):
            assert (data["reason"], "payload" in data, "event_id" in data) == ("malformed", False, False)
    assert {data["reason"] for data in parked.values()} == {"malformed", "unknown-county", "not-entitled"}
    assert {data["sender"] for data in parked.values() if data["reason"] == "unknown-county"} == {SENDER}
    assert worker.terminate()


async def test_workers_that_come_and_go_in_order_publish_nothing_twice(service: Services, kafka: str, topics: Topics) -> None:
    total = 4000
    values = [orjson.dumps(event(f"e-{n}", f"BD{n % 700}")) for n in range(total)]
    first = await service("intake", "worker", ONETHING_BATCH_RECORDS="60")

    async def slowly() -> None:
        for start in range(0, total, 100):
            await _send(kafka, topics.province_push, values[start : start + 100])
            await asyncio.sleep(0.2)

    sending = asyncio.create_task(slowly())

    async def published(share: float) -> None:
        async def so_many() -> bool:
            return sum(await _ends(kafka, topics.case_events)) >= share * total

        await until(so_many)

    await published(0.1)
    second = await service("intake", "worker", ONETHING_BATCH_RECORDS="60")
    await published(0.4)
    assert first.terminate()
    await published(0.6)
    await service("intake", "worker", ONETHING_BATCH_RECORDS="60")
    await published(0.8)
    assert second.terminate()
    await sending
    await published(1.0)
    ids = [e["id"] for e in events_of(await records_of(kafka, topics.case_events))]
    assert sorted(ids) == sorted(f"e-{n}" for n in range(total))

    async def committed() -> bool:
        return await _committed(kafka, topics) == await _ends(kafka, topics.province_push)

    await until(committed)


async def test_a_record_without_a_value_is_parked_and_the_worker_goes_on(service: Services, kafka: str, topics: Topics) -> None:
    values = [b"", b"\xff\xfe", b"[" * 5000, orjson.dumps(event("e-1"))]
    await service("intake", "worker")
    await _send(kafka, topics.province_push, values)

    async def arrived() -> bool:
        return sum(await _ends(kafka, topics.parked)) >= 3 and sum(await _ends(kafka, topics.case_events)) >= 1

    await until(arrived)
    parked = events_of(await records_of(kafka, topics.parked))
    assert sorted(e["data"]["length"] for e in parked) == [0, 2, 5000]
    assert {e["data"]["reason"] for e in parked} == {"malformed"}


async def test_when_most_of_a_batch_is_unusable_the_worker_halts_says_so_and_can_be_told_to_park_all(
    service: Services, kafka: str, topics: Topics
) -> None:
    worker = await service("intake", "worker")
    worker.terminate()
    async with Publisher(kafka, client_id="test") as publisher:
        await publisher.publish([Message(topics.province_push, "one", b"{broken") for _ in range(40)])
    worker.launch()

    async def halted() -> bool:
        async with httpx.AsyncClient(base_url=worker.url, trust_env=False) as client:
            try:
                answer = await client.get("/readyz")
            except httpx.ConnectError:
                return False
        return answer.status_code == 503 and "ONETHING_MOST_UNUSABLE=1" in answer.json()["wrong"].get("province-push", "")

    await until(halted)
    worker.terminate()
    assert sum(await _ends(kafka, topics.parked)) == 0
    assert sum(await _committed(kafka, topics)) == 0
    await service("intake", "worker", ONETHING_MOST_UNUSABLE="1")

    async def parked() -> bool:
        return sum(await _ends(kafka, topics.parked)) >= 40

    await until(parked)
