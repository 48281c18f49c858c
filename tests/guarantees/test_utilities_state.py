"""What the utilities worker promises, on real processes, a real Kafka and a real PostgreSQL."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
import httpx
import orjson
import pytest
from aiokafka import TopicPartition

from services.utilities.handlers import due, taking
from services.utilities.handlers import registry as registries
from services.utilities.kafka.consuming import UtilityEvents
from services.utilities.kafka.telling import SnapshotPublisher
from services.utilities.store import subjects as store
from shared import offsets
from shared.kafka import Halt, Message, Publisher, Record, Topics
from shared.unusable import Limits, Watch
from tests import utilities_oracle as oracle
from tests.conftest import Credentials, Services, TestDatabase
from tests.utilities_support import (
    LIMITS,
    PAIRS,
    REGISTRY,
    as_told,
    events_of,
    import_registry,
    newest,
    pool_of,
    push,
    records_of,
    stored,
    until,
)


async def _send(kafka: str, topic: str, events: Sequence[oracle.Event]) -> None:
    async with Publisher(kafka, client_id="test", timeout_seconds=20) as publisher:
        await publisher.publish([Message(topic, event["subject"], orjson.dumps(event)) for event in events])


async def _taken(admin_dsn: str) -> int:
    """How many records the database says it has."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        return int(await connection.fetchval("select coalesce(sum(next_offset), 0) from utilities.offsets"))
    finally:
        await connection.close()


async def _unpublished(admin_dsn: str) -> int:
    connection = await asyncpg.connect(admin_dsn)
    try:
        tables = " union all ".join(
            f"select count(*) as n from utilities.{table} where version > published_version" for table in store.TABLES.values()
        )
        return int(await connection.fetchval(f"select sum(n) from ({tables}) as counts"))
    finally:
        await connection.close()


async def test_the_way_of_a_step_and_a_presence_from_the_companys_push_to_the_snapshot(
    service: Services, kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials
) -> None:
    await import_registry(database.dsn("utilities"))
    api, worker = await service("utilities", "api"), await service("utilities", "worker")
    step = oracle.installation(
        "power-1", "AZ1", event_id="e1", recorded_at="2024-05-02T00:00:00Z", county="130607", service="power",
        step="accepted", occurred_at="2024-05-01T00:00:00Z", case_no="C1",
    )  # fmt: skip
    hall = oracle.presence(
        "power-1", "130608", "power", event_id="e2", effective_on="2024-05-01", recorded_at="2024-05-02T00:00:00Z",
        level="own_window", handles=["joint_installation", "public_service"],
    )  # fmt: skip
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
        answer = await push(client, "power-1", credentials.companies["power-1"], [step, hall])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)

    async def told() -> bool:
        return len(newest(await records_of(kafka, topics.progress))) == len(PAIRS) + 2

    await until(told)
    records = await records_of(kafka, topics.progress)
    assert as_told(newest(records)) == oracle.told([step, hall]) == await stored(database.admin_dsn)
    registry = newest(records)[("registry", "130607/gas-1/gas")]["state"]
    assert (registry["name"], registry["periods"]) == ("乙燃气公司", [{"valid_from": "2023-01-01", "valid_to": "2024-07-01"}])
    for record, event in zip(records, events_of(records), strict=True):
        assert record.key is not None
        assert record.key.decode() == f"{event['data']['kind']}|{event['data']['subject']}"
        assert event["id"].endswith(f"-{event['data']['version']}")
    assert all([api.terminate(), worker.terminate()]), "each ends by itself when told to"


async def test_killed_mid_load_and_started_again_the_state_is_the_oracles(
    service: Services, kafka: str, topics: Topics, database: TestDatabase
) -> None:
    events = oracle.season(7, PAIRS, installations=900)
    chance = random.Random(7)
    sent = events + chance.choices(events, k=len(events) // 3)
    chance.shuffle(sent)
    worker = await service("utilities", "worker", ONETHING_BATCH_RECORDS="100")
    half = len(sent) // 2
    await _send(kafka, topics.utility_events, sent[:half])
    kills = []
    rest = asyncio.create_task(_send(kafka, topics.utility_events, sent[half:]))
    for share in (0.1, 0.5):

        async def reached(share: float = share) -> bool:
            return await _taken(database.admin_dsn) >= share * len(sent)

        await until(reached)
        worker.kill()
        kills.append(await _taken(database.admin_dsn))
        worker.launch()
        await worker.ready()
    await rest

    async def all_told() -> bool:
        return await _taken(database.admin_dsn) == len(sent) and await _unpublished(database.admin_dsn) == 0

    await until(all_told, 60)
    assert kills[0] < len(sent), "the first kill came too late to prove anything"
    expected = oracle.told(events)
    assert await stored(database.admin_dsn) == expected
    assert as_told(newest(await records_of(kafka, topics.progress))) == expected


async def _records(kafka: str, topics: Topics, values: Sequence[bytes]) -> tuple[TopicPartition, list[Record]]:
    """``values`` as records of one partition of utility-events."""
    async with Publisher(kafka, client_id="test") as publisher:
        await publisher.publish([Message(topics.utility_events, "one-key", value) for value in values])
    records = await records_of(kafka, topics.utility_events)
    assert [record.offset for record in records] == list(range(len(values)))
    return TopicPartition(topics.utility_events, records[0].partition), records


async def test_a_zombies_write_finds_another_offset_and_changes_nothing(kafka: str, topics: Topics, database: TestDatabase) -> None:
    events = oracle.season(3, PAIRS, installations=4)
    partition, records = await _records(kafka, topics, [orjson.dumps(event) for event in events])
    async with pool_of(database.dsn("utilities")) as pool, Publisher(kafka, client_id="test") as publisher:
        await due.bring_up_to_date(pool, LIMITS)
        handler = UtilityEvents(pool, publisher, topics, LIMITS, asyncio.Event())
        assert await handler.position(partition, None) == 0
        assert await handler.apply(partition, 0, records[:5]) == 5
        before = await stored(database.admin_dsn)
        with pytest.raises(offsets.Fenced):
            await handler.apply(partition, 0, records)
        with pytest.raises(offsets.Fenced):
            await handler.apply(partition, 7, records[7:])
        assert await stored(database.admin_dsn) == before == oracle.told(events[:5])
        assert await handler.position(partition, None) == 5
        assert await handler.apply(partition, 5, records[5:]) == len(records)
    assert await stored(database.admin_dsn) == oracle.told(events)


async def test_two_at_once_from_the_same_offset_only_one_writes(kafka: str, topics: Topics, database: TestDatabase) -> None:
    events = oracle.season(4, PAIRS, installations=4)
    partition, records = await _records(kafka, topics, [orjson.dumps(event) for event in events])
    async with pool_of(database.dsn("utilities")) as pool, Publisher(kafka, client_id="test") as publisher:
        await due.bring_up_to_date(pool, LIMITS)
        handler = UtilityEvents(pool, publisher, topics, LIMITS, asyncio.Event())
        done = await asyncio.gather(*(handler.apply(partition, 0, records) for _ in range(2)), return_exceptions=True)
    assert [type(result) for result in done if isinstance(result, Exception)] == [offsets.Fenced]
    assert len(records) in done


async def test_what_cannot_be_used_is_parked_once_and_its_neighbours_are_taken(
    kafka: str, topics: Topics, database: TestDatabase
) -> None:
    good = oracle.season(5, PAIRS, installations=2)[:4]
    foreign = good[0] | {"source": "urn:onething:company:another"}
    values = [orjson.dumps(event) for event in good] + [b"{broken", orjson.dumps(foreign)]
    partition, records = await _records(kafka, topics, values)
    async with pool_of(database.dsn("utilities")) as pool, Publisher(kafka, client_id="test") as publisher:
        await due.bring_up_to_date(pool, LIMITS)
        handler = UtilityEvents(pool, publisher, topics, LIMITS, asyncio.Event())
        assert await handler.apply(partition, 0, records) == len(values)
        with pytest.raises(offsets.Fenced):
            await handler.apply(partition, 0, records)  # as a worker does that died after the commit
    assert await stored(database.admin_dsn) == oracle.told(good)
    parked = await records_of(kafka, topics.parked)
    origin = f"{partition.topic}/{partition.partition}"
    assert {(record.key, event["data"]["reason"]) for record, event in zip(parked, events_of(parked), strict=True)} == {
        (f"{origin}/4".encode(), "malformed"),
        (f"{origin}/5".encode(), "not-entitled"),
    }
    assert len({event["id"] for event in events_of(parked)}) == 2
    assert all("payload" not in event["data"] for event in events_of(parked) if event["data"]["reason"] == "malformed")


async def test_a_batch_that_is_mostly_unusable_stops_the_worker_instead_of_parking_the_world(
    kafka: str, topics: Topics, database: TestDatabase
) -> None:
    partition, records = await _records(kafka, topics, [b"{broken"] * 20)
    async with pool_of(database.dsn("utilities")) as pool, Publisher(kafka, client_id="test") as publisher:
        await due.bring_up_to_date(pool, LIMITS)
        handler = UtilityEvents(pool, publisher, topics, LIMITS, asyncio.Event())
        with pytest.raises(Halt, match="20 of 20"):
            await handler.apply(partition, 0, records)
        assert await handler.position(partition, None) == 0
        assert await records_of(kafka, topics.parked) == []
        # By small batches too, when too many come one after another.
        handler = UtilityEvents(pool, publisher, topics, LIMITS, asyncio.Event(), watch=Watch(Limits(0.5, 15)))
        assert await handler.apply(partition, 0, records[:10]) == 10
        with pytest.raises(Halt, match="15 records in a row are unusable"):
            await handler.apply(partition, 10, records[10:15])
        assert await handler.position(partition, None) == 10
    assert len(await records_of(kafka, topics.parked)) == 10


async def test_the_registry_imported_twice_changes_nothing_and_a_pair_left_out_is_told_as_gone(
    service: Services, kafka: str, topics: Topics, database: TestDatabase
) -> None:
    dsn = database.dsn("utilities")
    assert await import_registry(dsn) == registries.Import(added=6, changed=0, removed=0, unchanged=0)
    assert await import_registry(dsn) == registries.Import(added=0, changed=0, removed=0, unchanged=6)
    await service("utilities", "worker")

    async def published() -> bool:
        return await _unpublished(database.admin_dsn) == 0

    await until(published)
    first = await records_of(kafka, topics.progress)
    assert len(first) == len(PAIRS)
    without = REGISTRY.replace("water-1,甲供水公司,drainage,130607,2023-01-01,\n", "").replace("2024-07-01\n", "2024-08-01\n")
    assert await import_registry(dsn, without) == registries.Import(added=0, changed=1, removed=1, unchanged=4)
    await until(published)
    records = await records_of(kafka, topics.progress)
    assert len(records) == len(first) + 2
    snapshots, before = newest(records), newest(first)
    gone, changed = snapshots[("registry", "130607/water-1/drainage")], snapshots[("registry", "130607/gas-1/gas")]
    assert (gone["deleted"], gone["state"]) == (True, {})
    assert changed["state"]["periods"] == [{"valid_from": "2023-01-01", "valid_to": "2024-08-01"}]
    assert all(snapshots[key]["version"] > before[key]["version"] for key in snapshots if snapshots[key] != before[key])
    assert (await import_registry(dsn)).added == 1, "a pair that comes again is there again"


async def test_all_is_published_again_on_request_with_the_same_versions_and_ids(
    service: Services, kafka: str, topics: Topics, database: TestDatabase
) -> None:
    dsn = database.dsn("utilities")
    await import_registry(dsn)
    await service("utilities", "worker")

    async def published() -> bool:
        return await _unpublished(database.admin_dsn) == 0

    await until(published)
    async with pool_of(dsn) as pool:
        assert await taking.publish_again(pool, datetime.now(UTC), "zhang") == len(PAIRS)
    await until(published)
    ids = [event["id"] for event in events_of(await records_of(kafka, topics.progress))]
    assert (len(ids), len(set(ids))) == (2 * len(PAIRS), len(PAIRS))


async def test_one_publisher_at_a_time_and_the_next_takes_over(kafka: str, topics: Topics, database: TestDatabase) -> None:
    dsn = database.dsn("utilities")

    async def published() -> bool:
        return await _unpublished(database.admin_dsn) == 0

    async with pool_of(dsn) as one, pool_of(dsn) as two, Publisher(kafka, client_id="test") as publisher:
        first = asyncio.create_task(SnapshotPublisher(one, publisher, topics, LIMITS, asyncio.Event()).run())
        await import_registry(dsn)
        await until(published)
        second = asyncio.create_task(SnapshotPublisher(two, publisher, topics, LIMITS, asyncio.Event()).run())
        await asyncio.sleep(0.5)
        async with one.acquire() as db:
            assert not await db.fetchval("select pg_try_advisory_lock(hashtext($1))", store.LOCK)
        first.cancel()
        await asyncio.wait([first])
        await import_registry(dsn, REGISTRY.replace("乙", "丁"))
        await until(published)
        second.cancel()
        await asyncio.wait([second])
    names = {snapshot["state"]["name"] for snapshot in newest(await records_of(kafka, topics.progress)).values()}
    assert names == {"甲供水公司", "丁燃气公司", "丙供电公司"}


async def test_versions_rise_when_the_clock_stands_still_or_goes_back(database: TestDatabase) -> None:
    async with pool_of(database.dsn("utilities")) as pool:
        versions = []
        for day, name in ((20, "甲"), (20, "乙"), (10, "丙"), (21, "丁")):
            await registries.import_registry(pool, REGISTRY.replace("丙供电", name).encode(), datetime(2024, 9, day, tzinfo=UTC))
            async with pool.acquire() as db:
                versions.append(await db.fetchval("select version from registry where subject = '130607/power-1/power'"))
    first = int(datetime(2024, 9, 20, tzinfo=UTC).timestamp() * 1000)
    assert versions == [first, first + 1, first + 2, int(datetime(2024, 9, 21, tzinfo=UTC).timestamp() * 1000)]
