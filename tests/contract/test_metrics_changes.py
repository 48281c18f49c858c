"""What changed and why, over the real routes and a real PostgreSQL: the reasons add up to what the figures moved by, always."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import asyncpg
import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from services.metrics.domain.cases import MEASURES
from services.metrics.handlers import board, checking, counting
from services.metrics.handlers.counting import RawRecord, Unusable
from services.metrics.main import build_api
from services.metrics.settings import Settings
from services.metrics.store import checks, heard, journal
from shared import postgres
from shared.clock import now
from tests import case_events
from tests.conftest import TestDatabase

pytestmark = pytest.mark.usefixtures("asked_anew")

YESTERDAY: Final = date(2024, 9, 29)
TODAY: Final = date(2024, 9, 30)
REASONS: Final = ("moved", "corrected", "deleted", "restored")


async def no_parking(unusable: Sequence[Unusable]) -> None:
    raise AssertionError(f"nothing here should be parked: {unusable}")


@dataclass
class Desk:
    """A worker's database, and the api over it on a day in 2024."""

    pool: postgres.Pool
    api: httpx.AsyncClient
    admin: asyncpg.Connection
    offset: int = 0

    async def arrive(self, events: Sequence[dict[str, Any]], on: date) -> None:
        """Counts events, one batch, and folds; all as if it were that day."""
        raw = [RawRecord(self.offset + n, case_events.encoded(event)) for n, event in enumerate(events)]
        self.offset = await counting.count_batch(self.pool, no_parking, "t", 0, self.offset, raw)
        await counting.fold_counters(self.pool)
        await self.turn_back(on)

    async def turn_back(self, on: date) -> None:
        """What was written just now was written on that day, at noon in China."""
        async with self.pool.acquire() as db:
            columns = ", ".join(MEASURES)
            sums = ", ".join(f"{m} = kept.{m} + excluded.{m}" for m in MEASURES)
            await db.execute(
                f"""
                with fresh as (delete from moves where counted_on > '2025-01-01' returning *)
                insert into moves as kept select $1, item, county, why, {columns} from fresh
                on conflict (counted_on, item, county, why) do update set {sums}
                """,
                on,
            )
            noon = datetime(on.year, on.month, on.day, 4, tzinfo=UTC)
            await db.execute("update journal set at = $1 where at > '2025-01-01'", noon)

    async def totals(self) -> Counter[tuple[str, str, str]]:
        async with self.pool.acquire() as db:
            rows = await db.fetch("select * from totals")
        return Counter({(row["item"], row["county"], m): row[m] for row in rows for m in MEASURES})

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.api.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def changes(self, limit: int = 100, **params: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The answer, and all rows of its pages."""
        first = page = await self.get("/v1/changes", limit=limit, **params)
        rows = list(page["rows"])
        while page["next"] is not None:
            assert len(page["rows"]) == limit
            page = await self.get("/v1/changes", limit=limit, after=page["next"], **params)
            rows += page["rows"]
        return first, rows


@pytest_asyncio.fixture
async def desk(database: TestDatabase) -> AsyncIterator[Desk]:
    dsn = database.dsn("metrics")
    made = Settings(postgres_dsn=SecretStr(dsn), reader_token=SecretStr("reader"), operator_token=SecretStr("operator"))
    app = build_api(made, clock=lambda: datetime(2024, 9, 30, 6, tzinfo=UTC))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    admin = await asyncpg.connect(database.admin_dsn)
    async with (
        await postgres.open_pool(dsn, application="test", size=2) as pool,
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://metrics", headers={"Authorization": "Bearer reader"}) as api,
    ):
        yield Desk(pool, api, admin)
    await admin.close()


@given(
    delivery=case_events.delivered(most=25, cases=6),
    midnight=st.integers(0, 6),
    item=st.sampled_from(["disabled-service", "credit-repair"]),
    county=st.sampled_from([None, "130607", "130635"]),
    measure=st.sampled_from(MEASURES),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_reasons_add_up_to_what_the_figure_moved_by(
    desk: Desk,
    delivery: tuple[list[dict[str, Any]], list[list[dict[str, Any]]]],
    midnight: int,
    item: str,
    county: str | None,
    measure: str,
) -> None:
    async with desk.pool.acquire() as db:
        for table in ("cases", "counters", "counter_deltas", "offsets", "moves", "journal"):
            await db.execute(f"delete from {table}")
    desk.offset = 0
    before = Counter[tuple[str, str, str]]()
    for place, batch in enumerate(delivery[1]):
        await desk.arrive(batch, YESTERDAY if place < midnight else TODAY)
        if place < midnight:
            before = await desk.totals()
    after = await desk.totals()

    def of_scope(totals: Counter[tuple[str, str, str]]) -> int:
        return sum(n for (i, c, m), n in totals.items() if (i, m) == (item, measure) and county in (None, c))

    scope = {"item": item, "measure": measure, **({"county": county} if county else {})}
    answer, rows = await desk.changes(limit=2, since=TODAY, **scope)
    assert answer["net"] == of_scope(after) - of_scope(before)
    assert answer["net"] == sum(answer["by"].values())
    assert answer["by"]["recount"] == 0

    def counts(side: dict[str, Any] | None) -> bool:
        return side is not None and side["item"] == item and county in (None, side["county"])

    for why in REASONS:
        of_why = [row for row in rows if row["why"] == why]
        assert answer["cases"][why] == len(of_why)
        assert answer["by"][why] == sum(counts(row["after"]) - counts(row["before"]) for row in of_why)
        assert (await desk.changes(limit=100, since=TODAY, why=why, **scope))[1] == of_why
    assert all((counts(row["before"]) or counts(row["after"])) and row["before"] != row["after"] for row in rows)
    moved = [(counts(row["before"]), counts(row["after"])) for row in rows if row["why"] == "moved"]
    assert (answer["moved_in"], answer["moved_out"]) == (moved.count((False, True)), moved.count((True, False)))
    assert (await desk.get("/v1/changes", **scope))["net"] == of_scope(after), "since the day before without being asked"


def event(place: int, **told: Any) -> dict[str, Any]:
    data = {
        "case_no": "c1", "item": "disabled-service", "county": "130607", "step": "applied",
        "occurred_at": "2024-09-02T01:00:00Z", "recorded_at": f"2024-09-20T{place:02d}:00:00Z", **told,
    }  # fmt: skip
    return {
        "id": f"{data['case_no']}-{place}", "source": case_events.SOURCE, "type": "cn.onething.case.step.v1",
        "subject": data["case_no"], "data": data,
    }  # fmt: skip


async def test_a_day_is_told_as_it_was(desk: Desk) -> None:
    await desk.arrive([event(0), event(0, case_no="c2"), event(0, case_no="c3"), event(0, case_no="c4")], YESTERDAY)
    await desk.arrive([event(1, step="accepted"), event(0, case_no="c5")], TODAY)
    async with desk.pool.acquire() as db:
        assert await db.fetchval("select count(*) from journal") == 0, "what arrives is not written down"
    await desk.arrive([event(2, county="130635", step="accepted"), event(1, case_no="c2", operation="delete")], TODAY)
    await desk.arrive([event(1, case_no="c3", occurred_at="2024-09-05T01:00:00Z")], TODAY)
    answer, rows = await desk.changes(item="disabled-service", since=TODAY)
    assert answer["net"] == 0
    assert answer["by"] == {"new": 1, "moved": 0, "corrected": 0, "deleted": -1, "restored": 0, "recount": 0}
    assert answer["cases"] == {"moved": 1, "corrected": 1, "deleted": 1, "restored": 0}
    assert (answer["since"], answer["until"]) == ("2024-09-30", "2024-09-30")
    was = {"item": "disabled-service", "county": "130607", "day": "2024-09-02"}
    assert {(row["case_no"], row["why"]): (row["before"], row["after"]) for row in rows} == {
        ("c1", "moved"): (was, was | {"county": "130635"}),
        ("c2", "deleted"): (was, None),
        ("c3", "corrected"): (was, was | {"day": "2024-09-05"}),
    }
    assert rows[0]["at"] == "2024-09-30T04:00:00Z"
    assert rows[0]["source"] == case_events.SOURCE
    left, _ = await desk.changes(item="disabled-service", county="130607", since=TODAY)
    assert (left["net"], left["by"]["moved"], left["moved_in"], left["moved_out"]) == (-1, -1, 0, 1)
    came, _ = await desk.changes(item="disabled-service", county="130635", since=TODAY)
    assert (came["net"], came["by"]["moved"], came["moved_in"], came["moved_out"]) == (1, 1, 1, 0)
    # A step that came yesterday, seen from yesterday, and nothing seen from before.
    assert (await desk.get("/v1/changes", item="disabled-service", as_of="2024-09-29"))["net"] == 4
    assert (await desk.get("/v1/changes", item="disabled-service", as_of="2024-09-28"))["net"] == 0


async def test_a_recount_is_told_too(desk: Desk) -> None:
    await desk.arrive([event(0)], YESTERDAY)
    async with desk.pool.acquire() as db:
        await db.execute("update counters set handled = handled + 2")
        assert await checks.last(db) is None
        assert (await checking.rebuild_from_cases(db, at=now(), role="operator", who="zhang"))["differing"] == 1
        found = await checks.last(db)
    assert found is not None
    assert (found.checked, found.differing) == (1, 0), "as the counters are from then on"
    await desk.turn_back(TODAY)
    answer, rows = await desk.changes(item="disabled-service", since=TODAY)
    assert (answer["net"], answer["by"]["recount"], rows) == (-2, -2, [])


async def test_how_fresh_a_source_is_is_known_without_its_cases(desk: Desk) -> None:
    await desk.arrive([event(5), event(3, case_no="c2")], TODAY)
    await desk.arrive([event(4, case_no="c3") | {"source": "urn:other"}, event(1, case_no="c4")], TODAY)
    async with desk.pool.acquire() as db:
        await db.execute("delete from cases")
        found = {one.source: one for one in await heard.sources(db)}
        now = await db.fetchval("select now()")
    hours = {source: datetime.fromtimestamp(one.latest_at / 1e6, UTC).hour for source, one in found.items()}
    assert hours == {case_events.SOURCE: 5, "urn:other": 4}
    assert all((now - one.heard_at).total_seconds() < 60 for one in found.values())


async def test_with_many_cases_the_page_shows_the_last_check(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.arrive([event(0)], TODAY)
    async with desk.pool.acquire() as db:
        found = await board.freshness(db)
        assert found.at_this_moment
        assert found.check is not None
        assert (found.check.checked, found.check.differing) == (1, 0)
        monkeypatch.setattr(board, "MOST_RECOUNTED", -1)
        assert await board.freshness(db) == board.Freshness(found.sources, None, False)
        await checks.keep(db, 7, 2)
        await checks.keep(db, 9, 3)
        found = await board.freshness(db)
    assert (found.check and found.check[1:], found.at_this_moment) == ((9, 3), False)


async def test_what_is_older_than_it_is_kept_is_forgotten(desk: Desk) -> None:
    await desk.arrive([event(0)], YESTERDAY)
    await desk.arrive([event(1, operation="delete")], YESTERDAY)
    await desk.arrive([event(2, step="accepted")], TODAY)
    async with desk.pool.acquire() as db:
        assert await journal.prune(db, TODAY) == 1
        assert await db.fetchval("select array_agg(distinct why) from journal") == ["restored"]
        assert await db.fetchval("select array_agg(distinct counted_on) from moves") == [TODAY]


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({}, "/query/item"),
        ({"item": "x"}, "/query/item"),
        ({"item": "disabled-service", "county": "999999"}, "/query/county"),
        ({"item": "disabled-service", "measure": "x"}, "/query/measure"),
        ({"item": "disabled-service", "why": "new"}, "/query/why"),
        ({"item": "disabled-service", "since": "2024-10-01", "as_of": "2024-09-30"}, "/query/since"),
        ({"item": "disabled-service", "after": "x"}, "/query/after"),
        ({"item": "disabled-service", "after": "WyIyMDI0LTA5LTMwIiwiMSJd"}, "/query/after"),
    ],
)
async def test_a_wrong_question_is_told_where_it_is_wrong(desk: Desk, params: dict[str, str], pointer: str) -> None:
    answer = await desk.api.get("/v1/changes", params=params)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    far = await desk.api.get("/v1/changes", params={"item": "disabled-service", "since": "0001-01-01", "as_of": "9999-12-31"})
    assert far.status_code == 200
