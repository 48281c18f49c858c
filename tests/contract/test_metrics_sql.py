"""The worker's transaction against a real PostgreSQL: it counts as the oracle counts, once, and explains itself."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings

from services.metrics.domain.cases import MEASURES
from services.metrics.handlers import counting, figures
from services.metrics.handlers.counting import RawRecord, Unusable
from services.metrics.store import offsets
from shared import postgres
from tests import case_events, oracle
from tests.conftest import TestDatabase

TOPIC = "case-events"


@pytest_asyncio.fixture
async def pool(database: TestDatabase) -> AsyncIterator[postgres.Pool]:
    async with await postgres.open_pool(database.dsn("metrics"), application="test", size=4) as opened:
        yield opened


async def no_parking(unusable: Sequence[Unusable]) -> None:
    raise AssertionError(f"nothing here should be parked: {unusable}")


async def count(pool: postgres.Pool, events: list[dict[str, Any]], expected: int) -> int:
    raw = [RawRecord(expected + n, case_events.encoded(event)) for n, event in enumerate(events)]
    return await counting.count_batch(pool, no_parking, TOPIC, 0, expected, raw)


async def cells(pool: postgres.Pool) -> Counter[oracle.Cell]:
    async with pool.acquire() as db:
        rows = await db.fetch("select * from counted")
    found: Counter[oracle.Cell] = Counter()
    for row in rows:
        for measure in MEASURES:
            found[row["item"], row["county"], row["day"], measure] += row[measure]
    return Counter({cell: n for cell, n in found.items() if n})


@given(delivery=case_events.delivered(most=20, cases=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_delivery_counts_as_the_contract_says(
    pool: postgres.Pool, delivery: tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]
) -> None:
    distinct, batches = delivery
    async with pool.acquire() as db:
        for table in ("cases", "counters", "counter_deltas", "offsets"):
            await db.execute(f"delete from {table}")
    offset = 0
    for batch in batches:
        offset = await count(pool, batch, offset)
        if offset % 2:
            await counting.fold_counters(pool)
    assert await cells(pool) == oracle.count(distinct)
    async with pool.acquire() as db:
        assert (await figures.consistency(db, item=None, county=None))["drift"] == []


def story(case_no: str, county: str = "130607", **more: Any) -> dict[str, Any]:
    data = {
        "case_no": case_no, "item": "disabled-service", "county": county, "step": "applied",
        "occurred_at": "2024-09-02T01:00:00Z", "recorded_at": "2024-09-02T01:00:05Z", **more,
    }  # fmt: skip
    return {
        "id": f"{case_no}-1",
        "source": case_events.SOURCE,
        "type": "cn.onething.case.step.v1",
        "subject": case_no,
        "data": data,
    }


async def test_a_zombies_batch_is_not_written(pool: postgres.Pool) -> None:
    await count(pool, [story("c1")], 0)
    before = await cells(pool)
    with pytest.raises(offsets.Fenced):
        await count(pool, [story("c2")], 0)
    assert await cells(pool) == before
    async with pool.acquire() as db:
        assert await offsets.position(db, TOPIC, 0) == 1
        assert await db.fetchval("select count(*) from cases") == 1


async def test_a_gap_in_the_offsets_is_no_error(pool: postgres.Pool) -> None:
    next_offset = await count(pool, [story("c1")], 0)
    raw = [RawRecord(7, case_events.encoded(story("c2"))), RawRecord(12, case_events.encoded(story("c3")))]
    assert await counting.count_batch(pool, no_parking, TOPIC, 0, next_offset, raw) == 13


async def test_a_move_between_counties_moves_every_counter(pool: postgres.Pool) -> None:
    next_offset = await count(pool, [story("c1", county="130607")], 0)
    moved = story("c1", county="130635", recorded_at="2024-09-03T00:00:00Z")
    moved["id"] = "c1-2"
    await count(pool, [moved], next_offset)
    assert {cell[1] for cell in await cells(pool)} == {"130635"}


async def test_unplaced_cases_are_stored_and_not_counted(pool: postgres.Pool) -> None:
    event = story("c1")
    del event["data"]["county"]
    await count(pool, [event], 0)
    assert await cells(pool) == Counter()
    async with pool.acquire() as db:
        assert await db.fetchval("select count(*) from cases where county is null") == 1


async def test_a_drift_is_found_where_it_is(pool: postgres.Pool, database: TestDatabase) -> None:
    await count(pool, [story("c1")], 0)
    await counting.fold_counters(pool)
    async with pool.acquire() as db:
        await db.execute("update counters set handled = handled + 2")
        answer = await figures.consistency(db, item=None, county=None)
    assert answer["checked"] == 1
    assert answer["drift"] == [
        {"item": "disabled-service", "county": "130607", "day": date(2024, 9, 2), "measure": "handled", "recount": 1, "counter": 3}
    ]


async def test_unreadable_records_are_parked_and_the_rest_is_counted(pool: postgres.Pool) -> None:
    parked: list[Unusable] = []

    async def park(unusable: Sequence[Unusable]) -> None:
        parked.extend(unusable)

    poison = [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"type":"other"}', case_events.encoded(story("c\u0000"))]
    wrongs: list[dict[str, Any]] = [
        {"county": "999999"}, {"item": "x"}, {"step": "flown"}, {"recorded_at": "yesterday"}, {"occurred_at": 5},
        {"data_version": 0}, {"channel": []}, {"promised_on": "soon"}, {"services": 3}, {"recorded_at": "2024-09-02T01:00:05"},
    ]  # fmt: skip
    poison += [case_events.encoded(story("p", **wrong)) for wrong in wrongs]
    good = [case_events.encoded(story(f"c{n}")) for n in range(len(poison))]
    mixed = [value for pair in zip(poison, good, strict=True) for value in pair]
    taken = await counting.count_batch(pool, park, TOPIC, 0, 0, [RawRecord(n, value) for n, value in enumerate(mixed)])
    assert taken == len(mixed)
    assert [unusable.offset for unusable in parked] == list(range(0, len(mixed), 2))
    async with pool.acquire() as db:
        assert await db.fetchval("select count(*) from cases") == len(good)


async def test_a_batch_that_is_mostly_broken_is_refused_whole(pool: postgres.Pool) -> None:
    raw = [RawRecord(n, b"{") for n in range(30)]
    with pytest.raises(counting.BrokenBatch):
        await counting.count_batch(pool, no_parking, TOPIC, 0, 0, raw)
    async with pool.acquire() as db:
        assert await offsets.position(db, TOPIC, 0) == 0
