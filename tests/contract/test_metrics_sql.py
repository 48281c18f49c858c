"""The worker's transaction against a real PostgreSQL: it counts as the oracle counts, once, and explains itself."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.metrics.domain.cases import EMPTY, MEASURES, CaseState, Deltas, load_events, merge, registers, view
from services.metrics.domain.wire import read_case
from services.metrics.handlers import checking, counting
from services.metrics.handlers.counting import RawRecord, Unusable
from services.metrics.store import cases, offsets
from shared import postgres
from shared.unusable import MostlyUnusable
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
        for table in ("cases", "counters", "counters_by_month", "counter_deltas", "offsets"):
            await db.execute(f"delete from {table}")
    offset = 0
    for batch in batches:
        offset = await count(pool, batch, offset)
        if offset % 2:
            await counting.fold_counters(pool)
    assert await cells(pool) == oracle.count(distinct)
    async with pool.acquire() as db:
        months = "select item, date_trunc('month', day)::date as month, county, sum(handled) as n from counters group by 1, 2, 3"
        kept = "select item, month, county, handled as n from counters_by_month"
        assert await db.fetch(f"({months} except {kept}) union all ({kept} except {months})") == []
        assert (await checking.consistency(db, item=None, county=None))["drift"] == []


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
        answer = await checking.consistency(db, item=None, county=None)
    assert answer["checked"] == 1
    assert answer["drift"] == [
        {
            "span": "day",
            "item": "disabled-service",
            "county": "130607",
            "day": date(2024, 9, 2),
            "measure": "handled",
            "recount": 1,
            "counter": 3,
        }
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


async def test_a_batch_that_may_not_be_parked_is_refused_whole(pool: postgres.Pool) -> None:
    async def refuse(unusable: Sequence[Unusable]) -> None:
        raise MostlyUnusable(f"{len(unusable)} are too many")

    raw = [RawRecord(0, case_events.encoded(story("c1"))), *(RawRecord(n, b"{") for n in range(1, 30))]
    with pytest.raises(MostlyUnusable, match="29 are too many"):
        await counting.count_batch(pool, refuse, TOPIC, 0, 0, raw)
    async with pool.acquire() as db:
        assert await offsets.position(db, TOPIC, 0) == 0


def one_of_a_story(place: int, **told: Any) -> dict[str, Any]:
    """An event of the case ``c1`` that names all that the quick way asks for, unless ``told`` otherwise."""
    return {**story("c1", **told), "id": f"c1-{place}"}


orderly = st.builds(
    lambda step, hour, recorded, county, more: {
        "step": step,
        "occurred_at": f"2024-09-{2 + hour // 24:02d}T{hour % 24:02d}:00:00Z",
        "recorded_at": f"2024-09-20T{recorded:02d}:00:00Z",
        "county": county,
        **more,
    },
    st.sampled_from(["applied", "accepted", "completed", "returned", "supplement_requested"]),
    st.integers(0, 95),
    st.integers(0, 23),
    st.sampled_from(["130607"] * 6 + ["130635"]),
    st.fixed_dictionaries(
        {},
        optional={
            "channel": st.sampled_from(["web", "mobile", "window"]),
            "promised_on": st.sampled_from(["2024-09-02", "2024-09-03", "2024-09-05"]),
            "operation": st.sampled_from(["upsert", "upsert", "upsert", "retract"]),
            "data_version": st.sampled_from([1, 1, 1, 2]),
        },
    ),
)


@given(told=st.lists(orderly, min_size=1, max_size=6), in_time=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_each_row_is_what_the_pure_merge_says_whichever_way_it_was_written(
    pool: postgres.Pool, told: list[dict[str, Any]], in_time: bool
) -> None:
    async with pool.acquire() as db:
        for table in ("cases", "counters", "counter_deltas", "offsets"):
            await db.execute(f"delete from {table}")
    if in_time:
        told = sorted(told, key=lambda data: (str(data["recorded_at"]), str(data["occurred_at"])))
    state, offset = EMPTY, 0
    for place, data in enumerate(told):
        event = one_of_a_story(place, **data)
        # One event a batch: each may go the quick way.
        offset = await count(pool, [event], offset)
        record = read_case(case_events.encoded(event))
        state = merge(state, record.version, [record.event])
        async with pool.acquire() as db:
            row = await db.fetchrow("select * from cases")
        shown = view(state)
        days = shown.contribution.days if shown.contribution else (None,) * len(MEASURES)
        written = [row[f"{measure}_on"] for measure in MEASURES]
        assert [day and (day - date(1970, 1, 1)).days for day in written] == list(days)
        assert (row["data_version"], row["deleted"], row["county"], row["item"]) == (state.version, *shown[4:5], *shown[:2])
        assert (row["channel"], row["promised_on"] and row["promised_on"].isoformat()) == shown[2:4]
        assert row["latest_at"] == state.events[-1].recorded_at
        assert registers(load_events(row["events"])) == registers(state.events)
    async with pool.acquire() as db:
        assert (await checking.consistency(db, item=None, county=None))["drift"] == []


async def test_steps_in_time_go_the_quick_way(pool: postgres.Pool) -> None:
    steps = {"applied": "2024-09-02T01:00:00Z", "accepted": "2024-09-03T01:00:00Z", "completed": "2024-09-04T01:00:00Z"}
    for step, at in steps.items():
        record = read_case(case_events.encoded(story("c1", step=step, occurred_at=at, recorded_at=at)))
        async with pool.acquire() as db:
            left = await cases._add_steps(db, 1, {"c1": CaseState(1, (record.event,))}, Deltas())
        assert left == []
    late = read_case(case_events.encoded(story("c1", step="returned", recorded_at="2024-09-01T00:00:00Z")))
    async with pool.acquire() as db:
        assert await cases._add_steps(db, 1, {"c1": CaseState(1, (late.event,))}, Deltas()) == ["c1"]
