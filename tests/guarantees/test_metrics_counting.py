"""The count is exact, on real processes, a real Kafka and a real PostgreSQL, against an oracle that shares no code.

What may be observed: lost 0, double 0, drift 0, whatever happens to the workers meanwhile.
"""

import asyncio
import random

import asyncpg
import httpx
import pytest

from shared.kafka import Topics
from tests import load, oracle
from tests.conftest import Credentials, Services, TestDatabase
from tests.metrics_support import counted, send, taken, until


async def no_drift(url: str, credentials: Credentials) -> None:
    headers = {"Authorization": f"Bearer {credentials.reader_token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30) as client:
        assert (await client.get("/v1/consistency")).json()["drift"] == []


@pytest.mark.parametrize("seed", [1, 2])
async def test_workers_killed_again_and_again_count_each_case_once(
    seed: int, service: Services, kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials
) -> None:
    draw = random.Random(seed)
    distinct, arriving = load.season(seed, cases=4000)
    api = await service("metrics", "api")
    await send(kafka, topics.case_events, arriving)
    # Small batches, so that each kill meets a transaction at another point.
    worker = await service("metrics", "worker", ONETHING_BATCH_RECORDS="400")
    for kill in range(1, 4):
        goal = len(arriving) * kill // 5

        async def reached(goal: int = goal) -> bool:
            return await taken(database.admin_dsn, topics.case_events) >= goal

        await until(reached)
        await asyncio.sleep(draw.random() * 0.1)
        worker.kill()
        await worker.restart()

    async def all_taken() -> bool:
        return await taken(database.admin_dsn, topics.case_events) == len(arriving)

    await until(all_taken)
    assert await counted(database.admin_dsn) == oracle.count(distinct)
    await no_drift(api.url, credentials)


async def test_two_workers_that_come_and_go_count_each_case_once(
    service: Services, kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials
) -> None:
    distinct, arriving = load.season(7, cases=4000)
    halves = arriving[: len(arriving) // 2], arriving[len(arriving) // 2 :]
    api = await service("metrics", "api")
    one = await service("metrics", "worker", ONETHING_BATCH_RECORDS="300")
    await send(kafka, topics.case_events, halves[0])
    two = await service("metrics", "worker", ONETHING_BATCH_RECORDS="300")
    await send(kafka, topics.case_events, halves[1])
    assert one.terminate(), "a worker that is asked to stop stops by itself"
    await one.restart()
    two.kill()

    async def all_taken() -> bool:
        return await taken(database.admin_dsn, topics.case_events) == len(arriving)

    await until(all_taken)
    assert await counted(database.admin_dsn) == oracle.count(distinct)
    await no_drift(api.url, credentials)


async def test_a_database_put_back_to_an_earlier_state_is_counted_up_again(
    service: Services, kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials
) -> None:
    distinct, arriving = load.season(11, cases=1500)
    api = await service("metrics", "api")
    worker = await service("metrics", "worker")
    await send(kafka, topics.case_events, arriving)

    async def all_taken() -> bool:
        return await taken(database.admin_dsn, topics.case_events) == len(arriving)

    await until(all_taken)
    assert worker.terminate()
    # As a copy from before the first event would be: Kafka's committed offsets are far ahead of it.
    connection = await asyncpg.connect(database.admin_dsn)
    await connection.execute(
        "set search_path = metrics; truncate cases, counters, counter_deltas, offsets, sources restart identity"
    )
    await connection.close()
    await worker.restart()
    await until(all_taken)
    assert await counted(database.admin_dsn) == oracle.count(distinct)
    await no_drift(api.url, credentials)
