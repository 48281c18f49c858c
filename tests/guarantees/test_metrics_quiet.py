"""Commits that a database takes back while nothing arrives.

What may be observed: the worker notices by itself, without a next event, and counts again what was taken back.
"""

import asyncpg

from shared.kafka import Topics
from tests import load, oracle
from tests.conftest import Services, TestDatabase
from tests.metrics_support import counted, send, taken, until


async def test_a_quiet_worker_counts_again_what_the_database_lost(
    service: Services, kafka: str, topics: Topics, database: TestDatabase
) -> None:
    distinct, arriving = load.season(3, cases=300)
    worker = await service("metrics", "worker")
    await send(kafka, topics.case_events, arriving)

    async def all_counted() -> bool:
        return await counted(database.admin_dsn) == oracle.count(distinct)

    await until(all_counted)
    at = await taken(database.admin_dsn, topics.case_events)
    # As after a crash that lost everything since the beginning; no event comes after it.
    connection = await asyncpg.connect(database.admin_dsn)
    await connection.execute(
        "set search_path = metrics; truncate cases, counters, counters_by_month, counter_deltas; update offsets set next_offset = 0"
    )
    await connection.close()
    assert not await all_counted()
    await until(all_counted)
    assert await taken(database.admin_dsn, topics.case_events) == at
    assert "commits_taken_back" in worker.log
