"""Co-location and idle windows over the real routes and a real PostgreSQL, against the oracle and by example."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest_asyncio

from shared import counties
from tests import reading_oracle as oracle
from tests import utilities_oracle
from tests.conftest import TestDatabase
from tests.reading import Reading, reading

NOW = datetime(2024, 10, 2, tzinfo=UTC)
BOTH = ["joint_installation", "public_service"]
Told = dict[tuple[str, str], dict[str, Any] | None]
Place = tuple[str, str, str]


@pytest_asyncio.fixture
async def desk(database: TestDatabase) -> AsyncIterator[Reading]:
    async with reading(database, NOW) as opened:
        yield opened


def registry(place: Place, *periods: tuple[str, str | None]) -> Told:
    county, company, service = place
    told = [{"valid_from": begin} | ({"valid_to": end} if end else {}) for begin, end in periods]
    state = {"county": county, "company": company, "name": f"{company}公司", "service": service, "periods": told}
    return {("registry", "/".join(place)): state}


def presence(place: Place, *periods: tuple[str, str, list[str]]) -> Told:
    county, company, service = place
    told = [{"effective_on": on, "level": level, "handles": handles} for on, level, handles in periods]
    return {("presence", "/".join(place)): {"county": county, "company": company, "service": service, "periods": told}}


def window(place: Place, month: str, handled: int) -> Told:
    county, company, service = place
    state = {"county": county, "company": company, "service": service, "month": month, "public_service_handled": handled}
    return {("window", f"{'/'.join(place)}/{month}"): state}


def season(seed: int) -> Told:
    """Companies in some halls that come, leave and return; little that is handled; reports with gaps."""
    draw = random.Random(seed)
    pairs = [
        (county, f"{service}-{n}", service)
        for county in ("130602", "130607", "130684")
        for n in (1, 2)
        for service in ("gas", "heat")
    ]
    told: Told = {}

    def day() -> str:
        return str(date(2024, 1, 1) + timedelta(days=draw.randrange(240)))

    for place in pairs:
        if draw.random() < 0.9:
            told |= registry(place, ("2023-01-01", None) if draw.random() < 0.7 else ("2023-01-01", day()))
        levels = [
            (on, draw.choice(["own_window", "own_window", "comprehensive_window", "agency", "none"]))
            for on in sorted({day() for _ in range(3)})
        ]
        told |= presence(
            place, ("2023-06-01", "own_window", BOTH), *((on, level, [] if level == "none" else BOTH) for on, level in levels)
        )
        for month in range(1, 9):
            if draw.random() < 0.6:
                told |= window(place, f"2024-{month:02}", draw.choice([0, 0, 0, 0, 0, 3]))
    told |= {
        key: state
        for key, state in utilities_oracle.told(utilities_oracle.season(seed, pairs[:7], 4)).items()
        if key[0] == "installation"
    }
    return told


def of(told: Told, kind: str) -> list[dict[str, Any]]:
    return [state for (one, _), state in told.items() if one == kind and state is not None]


async def test_idle_windows_and_co_location_of_any_days_are_what_the_oracle_finds(desk: Reading) -> None:
    told = season(3)
    await desk.keep(told)
    draw = random.Random(3)
    ranges = [(date(2024, 6, 1), date(2024, 6, 30)), (date(2024, 2, 10), date(2024, 2, 12))]
    starts = [date(2024, 1, 1) + timedelta(days=draw.randrange(250)) for _ in range(30)]
    ranges += [(start, start + timedelta(days=draw.randrange(90))) for start in starts]
    seen = set()
    for first, last in ranges:
        answer = await desk.get("/v1/idle-windows", from_=first, as_of=last)
        expected = oracle.idle(
            of(told, "registry"), of(told, "presence"), of(told, "installation"), of(told, "window"), first, last
        )
        assert {(row["county"], row["company"], row["service"]): row["reported"] for row in answer["rows"]} == expected, (
            first,
            last,
        )
        seen |= set(expected.values())
        halls = await desk.get("/v1/co-location", as_of=last)
        located = {
            (state["county"], state["company"], state["service"])
            for state in of(told, "presence")
            if oracle.is_co_located(state, last)
        }
        applicable = {
            (state["county"], state["company"], state["service"])
            for state in of(told, "registry")
            if oracle.is_registered(state, last)
        }
        for row in halls["counties"]:
            mine = {place for place in applicable if place[0] == row["county"]}
            assert (row["applicable"], row["co_located"]) == (len(mine), len(mine & located))
            levels = [p["level"] for s in of(told, "presence") if s["county"] == row["county"] and (p := oracle.period_on(s, last))]
            assert row["none_at_all"] == (not any(level != "none" for level in levels))
            assert sum(one["applicable"] for one in row["by_service"]) == row["applicable"]
        total = {"co_located": len(applicable & located), "idle": len(expected), "reported": sum(expected.values())}
        assert answer["total"] == total | {"not_reported": len(expected) - sum(expected.values())}
        assert halls["total"]["co_located"] == total["co_located"]
        gas = next(row for row in halls["by_service"] if row["service"] == "gas")
        assert gas["co_located"] == sum(place[2] == "gas" for place in applicable & located)
    assert seen == {True, False}


async def test_reported_zero_is_told_from_nothing_reported(desk: Reading) -> None:
    zero, silent, busy, steps, gone, part = ((code, "w", "water") for code in list(counties.BY_CODE)[:6])
    told: Told = {}
    for place in (zero, silent, busy, steps, gone, part):
        told |= registry(place, ("2023-01-01", None)) | presence(place, ("2024-03-10", "own_window", BOTH))
    told |= presence(gone, ("2024-03-10", "own_window", BOTH), ("2024-09-30", "none", []))
    for month in ("2024-07", "2024-08", "2024-09"):
        told |= window(zero, month, 0) | window(busy, month, 5) | window(steps, month, 0)
    told |= window(part, "2024-08", 0)
    step = utilities_oracle.installation(
        "w", "1", event_id="e", recorded_at="2024-09-09T02:00:00Z", county=steps[0], service="water", step="paused",
        occurred_at="2024-09-08T16:00:00Z",
    )  # fmt: skip
    await desk.keep(told | utilities_oracle.told([step]))

    async def idle(since: str | None, as_of: str) -> dict[str, tuple[bool, list[str]]]:
        rows = (await desk.get("/v1/idle-windows", from_=since, as_of=as_of))["rows"]
        return {row["county"]: (row["reported"], row["months_missing"]) for row in rows}

    september = await idle("2024-09-01", "2024-09-30")
    assert september == {zero[0]: (True, []), silent[0]: (False, ["2024-09"]), part[0]: (False, ["2024-09"])}
    # The window begins after the step, and the report of August says nothing of a month that is not over.
    assert await idle("2024-09-10", "2024-09-20") == {
        zero[0]: (True, []), silent[0]: (False, []), steps[0]: (True, []), gone[0]: (False, []), part[0]: (False, []),
    }  # fmt: skip
    # A report of a month counts in each window that has a day of it.
    assert (await idle("2024-08-31", "2024-09-05"))[part[0]] == (True, [])
    assert busy[0] not in await idle("2024-08-31", "2024-09-05")
    # From the beginning: every month at whose end it stood there.
    assert (await idle(None, "2024-08-31"))[part[0]] == (False, ["2024-03", "2024-04", "2024-05", "2024-06", "2024-07"])
    (row,) = [
        row
        for row in (await desk.get("/v1/idle-windows", from_="2024-09-10", as_of="2024-09-30"))["rows"]
        if row["county"] == steps[0]
    ]
    assert row == {
        "county": steps[0], "county_name": counties.BY_CODE[steps[0]].name, "company": "w", "name": "w公司", "service": "water",
        "co_located_since": "2024-03-10", "last_step_on": "2024-09-09", "reported": True, "months_reported": ["2024-09"],
        "months_missing": [],
    }  # fmt: skip


async def test_the_matrix_tells_since_when_a_company_stands_so_and_who_is_not_in_the_registry(desk: Reading) -> None:
    water, guest = ("130607", "w", "water"), ("130607", "guest", "telecom")
    await desk.keep(
        registry(water, ("2023-01-01", None))
        | presence(
            water,
            ("2024-01-01", "own_window", BOTH),
            ("2024-02-01", "own_window", BOTH),  # said again
            ("2024-03-01", "comprehensive_window", BOTH),  # moved, and still co-located
            ("2024-05-01", "none", []),
            ("2024-07-01", "own_window", BOTH),
        )
        | presence(guest, ("2024-04-01", "agency", ["joint_installation"]))
    )

    async def at(day: str) -> dict[str, Any]:
        return next(row for row in (await desk.get("/v1/co-location", as_of=day))["counties"] if row["county"] == "130607")

    def stands(row: dict[str, Any]) -> tuple[Any, ...]:
        (company,) = row["companies"]
        return company["level"], company["since"], company["co_located"], company["co_located_since"]

    assert stands(await at("2023-12-31")) == ("none", None, False, None)
    assert stands(await at("2024-02-15")) == ("own_window", "2024-01-01", True, "2024-01-01")
    assert stands(await at("2024-04-30")) == ("comprehensive_window", "2024-03-01", True, "2024-01-01")
    left = await at("2024-05-01")
    assert stands(left) == ("none", "2024-05-01", False, None)
    assert (left["none_at_all"], left["applicable"], left["rate"]) == (False, 1, 0.0)
    assert left["unregistered"] == [
        {
            "company": "guest", "service": "telecom", "level": "agency", "handles": ["joint_installation"],
            "since": "2024-04-01", "co_located": False, "co_located_since": None,
        }
    ]  # fmt: skip
    assert stands(await at("2024-07-01")) == ("own_window", "2024-07-01", True, "2024-07-01")
    assert left["by_service"] == [{"service": "water", "applicable": 1, "co_located": 0, "rate": 0.0}]
