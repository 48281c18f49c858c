"""Commits that a database takes back while nothing arrives.

What may be observed: the worker notices by itself, without a next event, and counts again what was taken back.
"""

import asyncio

import asyncpg
import pytest

from shared.kafka import Topics
from tests import load, oracle
from tests.conftest import Services, TestDatabase
from tests.metrics_support import counted, send, taken, until


@pytest.mark.parametrize("restarted", [False, True], ids=["that has read", "that has read nothing yet"])
async def test_a_quiet_worker_counts_again_what_the_database_lost(
    service: Services, kafka: str, topics: Topics, database: TestDatabase, restarted: bool
) -> None:
    distinct, arriving = load.season(3, cases=300)
    worker = await service("metrics", "worker")
    await send(kafka, topics.case_events, arriving)

    async def all_counted() -> bool:
        return await counted(database.admin_dsn) == oracle.count(distinct)

    await until(all_counted)
    at = await taken(database.admin_dsn, topics.case_events)
    if restarted:
        await worker.restart()
        await asyncio.sleep(3)  # until it knows whence to read; were that too short, it would begin at what is lost all the same
    # As after a crash that lost everything since the beginning; no event comes after it.
    connection = await asyncpg.connect(database.admin_dsn)
    await connection.execute(
        "set search_path = metrics; truncate cases, counters, counters_by_month, counter_deltas; update offsets set next_offset = 0"
    )
    await connection.close()
    assert not await all_counted()
    await until(all_counted)
    assert await taken(database.admin_dsn, topics.case_events) == at
    assert restarted or "commits_taken_back" in worker.log
