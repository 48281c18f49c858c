"""Installations over the real routes and a real PostgreSQL: every figure as the oracle finds it, and what stands behind it."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import pytest_asyncio

from services.metrics.handlers import following
from shared import counties
from shared.events.case import Service
from tests import reading_oracle as oracle
from tests import utilities_oracle
from tests.conftest import TestDatabase
from tests.reading import Reading, reading
from tests.utilities_support import PAIRS

NOW = datetime(2024, 10, 2, tzinfo=UTC)
TODAY = date(2024, 10, 2)
DAYS = [date(2024, 2, 29), date(2024, 4, 15), date(2024, 5, 31), date(2024, 7, 7), date(2024, 8, 28), date(2025, 1, 1)]


@pytest_asyncio.fixture
async def desk(database: TestDatabase) -> AsyncIterator[Reading]:
    async with reading(database, NOW) as opened:
        yield opened


def season(seed: int, installations: int) -> dict[tuple[str, str], dict[str, Any] | None]:
    told = utilities_oracle.told(utilities_oracle.season(seed, PAIRS, installations))
    return {key: state for key, state in told.items() if key[0] == "installation"}


def orderly(number: int, day: str, **more: Any) -> tuple[tuple[str, str], dict[str, Any]]:
    """An installation of power in 满城区, accepted on a day, with a limit until the plan is replied."""
    event = utilities_oracle.installation(
        "power-1", f"P{number}", event_id="e", recorded_at=f"{day}T02:00:00Z", county="130607", service="power", step="accepted",
        occurred_at=f"{day}T02:00:00Z", customer_kind="low_voltage", **more,
    )  # fmt: skip
    ((key, state),) = utilities_oracle.told([event]).items()
    assert state is not None
    return key, state


async def test_every_figure_of_any_day_is_what_the_oracle_counts_and_opens_to_as_many(desk: Reading) -> None:
    told = season(5, installations=160)
    await desk.keep(told)
    states = [state for state in told.values() if state is not None]
    assert len(states) < len(told), "some are deleted"
    draw = random.Random(5)
    for day in DAYS:
        answer = await desk.get("/v1/installations", as_of=day)
        assert [(row["county"], row["service"]) for row in answer["rows"]] == [
            (county, service) for county in counties.BY_CODE for service in Service
        ]
        placed = [state for state in states if "county" in state and "service" in state]
        for row in answer["rows"]:
            mine = [state for state in placed if (state["county"], state["service"]) == (row["county"], row["service"])]
            here = {"county": row["county"], "name": counties.BY_CODE[row["county"]].name, "service": row["service"]}
            assert row == here | oracle.row(mine, day)
        for row in answer["by_county"]:
            mine = [state for state in placed if state["county"] == row["county"]]
            assert row == {"county": row["county"], "name": row["name"]} | oracle.row(mine, day)
        for row in answer["by_service"]:
            mine = [state for state in placed if state["service"] == row["service"]]
            assert row == {"service": row["service"]} | oracle.row(mine, day)
        assert answer["total"] == oracle.row(placed, day)
        assert answer["unplaced"] == sum(oracle.is_a("opened", state, day) for state in states) - answer["total"]["opened"]
        assert answer["total"]["opened"] == sum(answer["total"][name] for name in ("connected", "cancelled", "in_progress"))
        for name in oracle.NUMBERS:
            rows = await desk.every_page("/v1/installations/list", limit=draw.choice([7, 1000]), as_of=day, state=name)
            mine = [state for state in placed if oracle.is_a(name, state, day)]
            expected = sorted((str(oracle.since(name, s, day)), f"{s['company']}/{s['installation_no']}") for s in mine)
            assert [(row["since"], f"{row['company']}/{row['installation_no']}") for row in rows] == expected
            assert all(row["overdue"] or name != "overdue" for row in rows)
        narrow = {"county": "130607", "service": "power", "as_of": day}
        answer = await desk.get("/v1/installations", **narrow)
        mine = [state for state in placed if (state["county"], state["service"]) == ("130607", "power")]
        assert [{name: row[name] for name in oracle.row([], day)} for row in answer["rows"]] == [oracle.row(mine, day)]
        rows = await desk.every_page("/v1/installations/list", limit=3, state="opened", company="power-1", **narrow)
        assert len(rows) == answer["total"]["opened"]


async def test_who_is_overdue_since_when_and_which_step_was_due(desk: Reading) -> None:
    limit = {"step": "plan_replied", "since": "2024-09-20", "working_days": 7}
    expected = {**limit, "limit_working_days": 7, "due_on": "2024-09-30", "provisional": False}
    del expected["working_days"]
    await desk.keep(dict([orderly(1, "2024-09-20"), orderly(2, "2024-09-29")]))
    soon = await desk.get("/v1/installations/list", state="due_soon", as_of="2024-09-30")
    assert [(row["installation_no"], row["due"]) for row in soon["rows"]] == [("P1", {**expected, "working_days_late": 0})]
    answer = await desk.get("/v1/installations/list", as_of="2024-10-08")
    (row,) = answer["rows"]
    assert (answer["count"], answer["next"], answer["state"]) == (1, None, "overdue")
    assert row == {
        "installation_no": "P1", "company": "power-1", "county": "130607", "service": "power", "case_no": None,
        "case_source": None, "customer_kind": "low_voltage", "state": "in_progress", "since": "2024-10-01",
        "opened_on": "2024-09-20", "step": "accepted", "ended_on": None, "working_days": None, "overdue": True,
        "due_soon": False, "due": {**expected, "working_days_late": 1}, "anomalies": [],
    }  # fmt: skip


async def test_a_newer_snapshot_moves_the_figures_an_older_one_does_not_and_a_deletion_takes_them_back(desk: Reading) -> None:
    key, state = orderly(1, "2024-09-20")
    await desk.keep({key: state}, version=5)
    assert (await desk.get("/v1/installations"))["total"]["overdue"] == 1  # today
    connected = {**state, "steps": {**state["steps"], "connected": "2024-09-25T02:00:00Z"}, "limits": []}
    await desk.keep({key: connected}, version=4)
    assert (await desk.get("/v1/installations/list", as_of=TODAY))["count"] == 1  # of lists none stands
    await desk.keep({key: connected}, version=6)
    total = (await desk.until(lambda answer: not answer["total"]["overdue"], "/v1/installations", as_of=TODAY))["total"]
    assert total == dict.fromkeys(oracle.NUMBERS, 0) | {"opened": 1, "connected": 1, "median_working_days": 3}
    await desk.keep({key: None}, version=7)
    await desk.until(lambda answer: not answer["total"]["opened"], "/v1/installations", as_of=TODAY)
    assert (await desk.get("/v1/installations/list", state="opened", as_of=TODAY))["count"] == 0


async def test_what_no_event_has_placed_is_told_apart(desk: Reading) -> None:
    key, state = orderly(1, "2024-09-20")
    del state["service"]
    await desk.keep(dict([(key, state), orderly(2, "2024-09-20")]))
    answer = await desk.get("/v1/installations")
    assert (answer["unplaced"], answer["total"]["opened"]) == (1, 1)
    (row,) = await desk.every_page("/v1/installations/list", limit=10, state="unplaced")
    assert (row["installation_no"], row["service"]) == ("P1", None)


async def test_a_state_that_cannot_be_read_is_parked_and_the_others_are_kept(desk: Reading) -> None:
    await desk.keep(dict([(("installation", "w/1"), {"installation_no": 7}), orderly(2, "2024-09-20")]))
    assert [unusable.error.verdict.errors[0].pointer for unusable in desk.unusable] == ["/data/state"]
    assert (await desk.get("/v1/installations"))["total"]["opened"] == 1


async def test_what_was_kept_before_it_counted_is_derived_and_then_stands(desk: Reading) -> None:
    told = season(9, installations=40)
    await desk.keep(told)
    before = await desk.get("/v1/installations", as_of="2024-08-01")
    async with desk.pool.acquire() as db:
        await db.execute("delete from matters where subject like 'power%'")
        await db.execute("update matters set rules = 0, opened_on = null where subject like 'gas%'")
        await db.execute("update matters set version = 0, county = null where subject like 'water%'")
    await desk.until(lambda answer: answer != before, "/v1/installations", as_of="2024-08-01")
    assert await following.derive_outdated(desk.pool) == len(told)
    await desk.until(lambda answer: answer == before, "/v1/installations", as_of="2024-08-01")
    assert await following.derive_outdated(desk.pool) == 0


def joint_state(status: str, **more: Any) -> dict[str, Any]:
    return {"case_no": "C1", "case_source": "urn:onething:province:hebei", "county": "130607", "status": status, **more}


async def test_a_joint_installation_as_it_stood_on_each_day(desk: Reading) -> None:
    key, power = orderly(1, "2024-09-20")
    power["steps"] |= {
        "plan_replied": "2024-09-24T02:00:00Z",
        "permitted": "2024-09-26T02:00:00Z",
        "connected": "2024-09-30T02:00:00Z",
    }
    power["paused"], power["pauses"] = ["2024-09-25T02:00:00Z"], [{"from_on": "2024-09-25", "to_on": "2024-09-26"}]
    power["resumed"] = ["2024-09-26T01:00:00Z"]
    of_power = {
        "service": "power", "status": "connected", "companies": ["power-1"], "company": "power-1", "installation_no": "P1",
        "step": "connected", "last_on": "2024-09-30", "ended_on": "2024-09-30",
    }  # fmt: skip
    of_heat = {"service": "heat", "status": "no_company"}
    gas = {"service": "gas", "status": "unreported", "companies": ["gas-1", "gas-2"]}
    open_case = joint_state("open", opened_on="2024-09-19", parts=[of_power, gas], slowest="gas")
    whole = {
        **joint_state("complete", opened_on="2024-09-20", ended_on="2024-09-30", parts=[of_power], slowest="power"),
        "case_no": "C2",
    }
    ended = {
        **joint_state("ended", opened_on="2024-09-21", ended_on="2024-09-22", ended_by="withdrawn", parts=[of_heat]),
        "case_no": "C3",
    }
    await desk.keep({key: power, ("joint", "h/C1"): open_case, ("joint", "h/C2"): whole, ("joint", "h/C3"): ended})

    async def at(day: str, case_no: str, **asked: Any) -> dict[str, Any]:
        rows = await desk.every_page("/v1/joint-installations", limit=1, as_of=day, **asked)
        (row,) = [row for row in rows if row["case_no"] == case_no]
        return row

    first = await at("2024-09-19", "C1")
    assert (first["parts"][0]["status"], first["parts"][0]["step"], first["slowest"]) == ("unreported", None, "power")
    assert first["waiting_for"] == {
        "service": "power", "status": "unreported", "company": "power-1", "companies": ["power-1"], "next_step": None,
        "waits_on": None, "due": None,
    }  # fmt: skip
    row = await at("2024-09-24", "C2")
    assert (row["state"], row["ended_on"], row["parts"][0]["step"]) == ("open", None, "plan_replied")
    assert (row["waiting_for"]["next_step"], row["waiting_for"]["waits_on"]) == ("permitted", "authority")
    assert (await at("2024-09-25", "C2"))["waiting_for"]["waits_on"] == "applicant"
    row = await at("2024-09-26", "C2")
    assert (row["waiting_for"]["next_step"], row["waiting_for"]["waits_on"]) == ("connected", "company")
    row = await at("2024-09-30", "C2")
    assert (row["state"], row["ended_on"], row["slowest"], row["waiting_for"]) == ("complete", "2024-09-30", "power", None)
    assert row["working_days"] == 7
    assert (await at("2024-09-30", "C1"))["waiting_for"]["companies"] == ["gas-1", "gas-2"]
    assert ((await at("2024-09-21", "C3"))["state"], (await at("2024-09-22", "C3"))["ended_by"]) == ("open", "withdrawn")
    page = await desk.get("/v1/joint-installations")
    assert {name: page[name] for name in ("count", "open", "complete", "ended")} == {
        "count": 3,
        "open": 1,
        "complete": 1,
        "ended": 1,
    }
    assert [row["case_no"] for row in page["rows"]] == ["C1", "C2", "C3"]
    page = await desk.get("/v1/joint-installations", state="ended", county="130607")
    assert [row["case_no"] for row in page["rows"]] == ["C3"]
    assert (await desk.get("/v1/joint-installations", county="130608"))["rows"] == []


WRONG = [
    ("/v1/installations?as_of=tomorrow", "/query/as_of", "date"),
    ("/v1/installations?county=999999", "/query/county", "130607"),
    ("/v1/installations?service=steam", "/query/service", "cable_tv"),
    ("/v1/installations/list?state=late", "/query/state", "due_soon"),
    ("/v1/installations/list?county=1", "/query/county", "130607"),
    ("/v1/installations/list?company=a%20b", "/query/company", "A-Za-z0-9"),
    ("/v1/installations/list?limit=0", "/query/limit", "1"),
    ("/v1/installations/list?after=W10", "/query/after", "next"),
    ("/v1/installations/list?after=WyJ4IiwieSJd", "/query/after", "next"),
    ("/v1/joint-installations?state=slow", "/query/state", "complete"),
    ("/v1/joint-installations?county=1", "/query/county", "130607"),
    ("/v1/joint-installations?after=%00", "/query/after", "next"),
    ("/v1/joint-installations?as_of=2024-02-30", "/query/as_of", "date"),
    ("/v1/idle-windows?from=2024-10-01&as_of=2024-09-30", "/query/from", "swap"),
    ("/v1/idle-windows?from=2024-9-1", "/query/from", "date"),
    ("/v1/idle-windows?as_of=2024-13-01", "/query/as_of", "date"),
    ("/v1/co-location?as_of=0000-01-01", "/query/as_of", "date"),
]


async def test_each_wrong_parameter_is_pointed_at_with_what_is_allowed(desk: Reading) -> None:
    for path, pointer, allowed in WRONG:
        answer = await desk.client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), path
        (error,) = answer.json()["errors"]
        assert (error["pointer"], allowed in error["message"]) == (pointer, True), path


async def test_without_the_token_nothing_is_told(desk: Reading) -> None:
    for path in ("/v1/installations", "/v1/installations/list", "/v1/joint-installations", "/v1/idle-windows", "/v1/co-location"):
        assert (await desk.client.get(path, headers={"Authorization": "Bearer wrong"})).status_code == 401


async def test_years_that_no_calendar_reaches_are_answered(desk: Reading) -> None:
    await desk.keep(dict([orderly(1, "2024-09-20")]))
    for day in (date(1, 1, 1), date(9999, 12, 31)):
        for path in (
            "/v1/installations",
            "/v1/installations/list",
            "/v1/joint-installations",
            "/v1/idle-windows",
            "/v1/co-location",
        ):
            await desk.get(path, as_of=day)
    assert (await desk.get("/v1/installations/list", as_of=date(9999, 12, 31)))["count"] == 1
