"""What stands behind the figures, over the real routes and a real PostgreSQL: as many cases as the number says, each explained."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from services.metrics.domain.cases import MEASURES
from services.metrics.handlers import counting
from services.metrics.handlers.counting import RawRecord, Unusable
from services.metrics.main import build_api
from services.metrics.settings import Settings
from services.metrics.store.explain import count_unplaced
from shared import postgres
from tests import case_events, load, oracle
from tests.conftest import TestDatabase

pytestmark = pytest.mark.usefixtures("asked_anew")

SOURCE = case_events.SOURCE
Params = dict[str, Any]


@dataclass
class Desk:
    """A worker's database and the api over it."""

    pool: postgres.Pool
    api: httpx.AsyncClient
    offset: int = 0

    async def count(self, events: Sequence[dict[str, Any]]) -> None:
        raw = [RawRecord(self.offset + n, case_events.encoded(event)) for n, event in enumerate(events)]
        if raw:
            self.offset = await counting.count_batch(self.pool, no_parking, "t", 0, self.offset, raw)

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.api.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def every(self, path: str, limit: int, **params: Any) -> list[dict[str, Any]]:
        """All rows, page by page; the first page's count is theirs."""
        rows: list[dict[str, Any]] = []
        page = await self.get(path, limit=limit, **params)
        count = page["count"]
        while True:
            assert len(page["rows"]) <= limit
            rows += page["rows"]
            if page["next"] is None:
                assert len(rows) == count
                return rows
            assert len(page["rows"]) == limit
            page = await self.get(path, limit=limit, after=page["next"], **params)


async def no_parking(unusable: Sequence[Unusable]) -> None:
    raise AssertionError(f"nothing here should be parked: {unusable}")


@pytest_asyncio.fixture
async def desk(database: TestDatabase) -> AsyncIterator[Desk]:
    dsn = database.dsn("metrics")
    made = Settings(postgres_dsn=SecretStr(dsn), reader_token=SecretStr("reader"), operator_token=SecretStr("operator"))
    app = build_api(made, clock=lambda: datetime(2024, 10, 12, tzinfo=UTC))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": "Bearer reader"}
    async with (
        await postgres.open_pool(dsn, application="test", size=2) as pool,
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://metrics", headers=headers) as api,
    ):
        yield Desk(pool, api)


@given(
    delivery=case_events.delivered(most=25, cases=8),
    item=st.sampled_from([None, "disabled-service"]),
    county=st.sampled_from([None, "130607"]),
    since=st.sampled_from([None, "2024-09-29", "2024-09-30"]),
    as_of=st.sampled_from(["2024-09-28", "2024-09-29", "2024-09-30", None]),
    limit=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_as_many_cases_stand_behind_a_number_as_it_says(
    desk: Desk,
    delivery: tuple[list[dict[str, Any]], list[list[dict[str, Any]]]],
    item: str | None,
    county: str | None,
    since: str | None,
    as_of: str | None,
    limit: int,
) -> None:
    distinct, batches = delivery
    async with desk.pool.acquire() as db:
        for table in ("cases", "counters", "counter_deltas", "offsets"):
            await db.execute(f"delete from {table}")
    desk.offset = 0
    for batch in batches:
        await desk.count(batch)
    await counting.fold_counters(desk.pool)
    asked = {name: value for name, value in {"item": item, "from": since, "as_of": as_of}.items() if value}
    if since and as_of and since > as_of:
        return
    shown = await desk.get("/v1/counts", **asked)
    numbers = next((row for row in shown["rows"] if row["county"] == county), shown["total"])
    of_case = {e["subject"]: oracle.count([x for x in distinct if x["subject"] == e["subject"]]) for e in distinct}
    for measure in MEASURES:
        listed = await desk.every("/v1/cases", limit, **asked, measure=measure, **({"county": county} if county else {}))
        assert len(listed) == numbers[measure]
        keys = [(-date.fromisoformat(row["day"]).toordinal(), row["case_no"]) for row in listed]
        assert keys == sorted(set(keys))
        for row in listed:
            assert of_case[row["case_no"]][row["item"], row["county"], date.fromisoformat(row["day"]), measure] == 1


async def test_a_season_is_listed_page_by_page_whatever_the_pages_size(desk: Desk) -> None:
    distinct, arriving = load.season(5, cases=1500)
    for start in range(0, len(arriving), 700):
        await desk.count(arriving[start : start + 700])
    while await counting.fold_counters(desk.pool):
        pass
    cells = oracle.count(distinct)
    for measure in ("handled", "online", "accepted", "completed", "withdrawn"):
        for since, as_of in ((None, date(2024, 12, 31)), (date(2024, 5, 1), date(2024, 8, 31))):
            where = {"measure": measure, "as_of": str(as_of), **({"from": str(since)} if since else {})}
            number = sum(n for (_, _, day, m), n in cells.items() if m == measure and (since or date.min) <= day <= as_of)
            listed = await desk.every("/v1/cases", 97, **where)
            assert number > 10
            assert len(listed) == number
            assert [row["case_no"] for row in listed] == [row["case_no"] for row in await desk.every("/v1/cases", 1000, **where)]


def told(case_no: str, number: int, at: str, **data: Any) -> dict[str, Any]:
    content = {"case_no": case_no, "recorded_at": at, **data}
    return {"id": f"{case_no}-{number}", "source": SOURCE, "type": "cn.onething.case.step.v1", "subject": case_no, "data": content}


STORY = [
    told("a", 1, "2024-09-02T02:00:05Z", step="applied", occurred_at="2024-09-02T02:00:00Z", county="130607", channel="web"),
    told("a", 2, "2024-09-03T02:00:05.25Z", step="accepted", occurred_at="2024-09-03T02:00:00Z", item="disabled-service"),
    told("a", 3, "2024-09-04T02:00:05Z", step="completed", occurred_at="2024-09-04T02:00:00Z", outcome="granted"),
    told("a", 4, "2024-09-05T02:00:05Z", step="accepted", operation="retract"),
]


@pytest.mark.parametrize("source", [SOURCE, quote(SOURCE, safe="")])
async def test_a_case_shows_each_register_with_the_event_that_set_it(desk: Desk, source: str) -> None:
    await desk.count(STORY)
    answer = await desk.get(f"/v1/cases/{source}/a")
    registers = answer.pop("registers")
    assert answer == {
        "source": SOURCE, "case_no": "a", "data_version": 1, "deleted": False, "placed": True, "missing": [],
        "county": "130607", "item": "disabled-service",
        "contributes": {"handled": "2024-09-02", "applied": "2024-09-02", "completed": "2024-09-04", "online": "2024-09-02"},
    }  # fmt: skip
    assert {name: register["event"]["id"] for name, register in registers.items()} == {
        "step:applied": "a-1", "county": "a-1", "channel": "a-1", "item": "a-2", "step:completed": "a-3", "step:accepted": "a-4",
    }  # fmt: skip
    assert registers["step:accepted"]["value"] is None
    assert registers["step:completed"]["value"] == {"occurred_at": "2024-09-04T02:00:00Z", "outcome": "granted"}
    assert registers["item"] == {
        "value": "disabled-service",
        "event": {
            "id": "a-2", "recorded_at": "2024-09-03T02:00:05.250000Z", "operation": "upsert", "step": "accepted",
            "occurred_at": "2024-09-03T02:00:00Z",
        },
    }  # fmt: skip


async def test_a_deleted_case_is_shown_and_counts_for_nothing(desk: Desk) -> None:
    await desk.count([*STORY, told("a", 5, "2024-09-06T00:00:00Z", operation="delete")])
    answer = await desk.get(f"/v1/cases/{SOURCE}/a")
    assert (answer["deleted"], answer["contributes"], answer["registers"]["delete"]["value"]) == (True, {}, True)
    assert (await desk.get("/v1/cases"))["rows"] == []


async def test_sources_with_slashes_are_found_and_equal_numbers_are_told_apart(desk: Desk) -> None:
    other = "https://example.gov/one/thing"
    await desk.count([*STORY, {**STORY[0], "source": other}])
    assert (await desk.get(f"/v1/cases/{other}/a"))["placed"] is False
    assert (await desk.get(f"/v1/cases/{quote(other, safe='')}/a"))["missing"] == ["item"]


async def test_unplaced_cases_are_listed_with_what_is_missing_until_it_is_named(desk: Desk) -> None:
    step = {"step": "applied", "occurred_at": "2024-09-02T02:00:00Z"}
    named = {"a": {}, "b": {"county": "130607"}, "c": {"item": "retirement"}, "d": {"county": "130607", "item": "retirement"}}
    await desk.count([told(case_no, 1, "2024-09-02T02:00:05Z", **step, **more) for case_no, more in named.items()])
    await desk.count([told("e", 1, "2024-09-02T02:00:05Z", **step), told("e", 2, "2024-09-03T02:00:05Z", operation="delete")])
    rows = await desk.every("/v1/unplaced", 2)
    assert [(row["case_no"], row["missing"]) for row in rows] == [("a", ["county", "item"]), ("b", ["item"]), ("c", ["county"])]
    assert rows[0]["latest_recorded_at"] == "2024-09-02T02:00:05Z"
    await desk.count([told("a", 2, "2024-09-04T02:00:05Z", **step, county="130607", item="retirement")])
    assert (await desk.get("/v1/unplaced"))["count"] == 2
    async with desk.pool.acquire() as db:
        assert await count_unplaced(db) == 2


@pytest.mark.parametrize(
    ("path", "status", "pointer"),
    [
        (f"/v1/cases/{SOURCE}/never", 404, None),
        ("/v1/cases/a%00b/c", 404, None),
        ("/v1/cases?item=nothing", 422, "/query/item"),
        ("/v1/cases?county=999999", 422, "/query/county"),
        ("/v1/cases?measure=guessed", 422, "/query/measure"),
        ("/v1/cases?from=2024-10-01&as_of=2024-09-30", 422, "/query/from"),
        ("/v1/cases?limit=0", 422, "/query/limit"),
        ("/v1/cases?limit=1001", 422, "/query/limit"),
        ("/v1/cases?after=x", 422, "/query/after"),
        ("/v1/cases?after=%E9%98%BF", 422, "/query/after"),
        ("/v1/cases?after=WyJhIiwiYiIsImMiXQ", 422, "/query/after"),
        ("/v1/cases?after=e30", 422, "/query/after"),
        ("/v1/unplaced?after=WyJhIl0", 422, "/query/after"),
    ],
)
async def test_wrong_questions_get_a_problem_that_points_at_the_place(
    desk: Desk, path: str, status: int, pointer: str | None
) -> None:
    answer = await desk.api.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert [error["pointer"] for error in answer.json().get("errors", [])] == ([pointer] if pointer else [])


@pytest.mark.parametrize("path", ["/v1/cases", f"/v1/cases/{SOURCE}/a", "/v1/unplaced"])
async def test_without_the_token_nothing_is_read(desk: Desk, path: str) -> None:
    assert (await desk.api.get(path, headers={"Authorization": "Bearer wrong"})).status_code == 401


async def test_the_lists_indexes_leave_the_common_event_on_its_page(desk: Desk) -> None:
    start = datetime(2024, 9, 2, 2, tzinfo=UTC)
    for number, step in enumerate(("applied", "accepted", "completed")):
        at = case_events.text(start + timedelta(days=number))
        placed = {"county": "130607", "item": "retirement", "step": step, "occurred_at": at}
        await desk.count([told(f"c{n}", number, at, **placed) for n in range(4)])  # few, so that a page has room for all
    async with desk.pool.acquire() as db:
        await db.execute("select pg_stat_force_next_flush()")
        updates = await db.fetchrow("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'cases'")
    assert tuple(updates) == (8, 8)
