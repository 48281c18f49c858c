"""The reading side over its real routes and a real PostgreSQL: fields, figures and exact errors of the contract."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from services.metrics.handlers import counting
from services.metrics.handlers.counting import RawRecord, Unusable
from services.metrics.main import build_api
from services.metrics.settings import Settings
from shared import counties, postgres
from tests import case_events
from tests.conftest import TestDatabase

pytestmark = pytest.mark.usefixtures("asked_anew")

TOKEN = {"Authorization": "Bearer reader"}


async def no_parking(unusable: Sequence[Unusable]) -> None:
    raise AssertionError(f"nothing here should be parked: {unusable}")


def step(case_no: str, step: str, at: str, **more: Any) -> dict[str, Any]:
    data = {"case_no": case_no, "step": step, "occurred_at": at, "recorded_at": at, **more}
    return {
        "id": f"{case_no}-{step}",
        "source": case_events.SOURCE,
        "type": "cn.onething.case.step.v1",
        "subject": case_no,
        "data": data,
    }


EVENTS = [
    step("a", "applied", "2024-08-30T02:00:00Z", county="130607", item="disabled-service", channel="web", promised_on="2024-09-10"),
    step("a", "completed", "2024-09-10T02:00:00Z"),
    step(
        "b", "applied", "2024-09-02T02:00:00Z", county="130607", item="disabled-service", channel="window", promised_on="2024-09-10"
    ),
    step("b", "completed", "2024-09-10T16:00:00Z"),  # midnight in China: one day late
    step("c", "accepted", "2024-09-30T15:59:59Z", county="130635", item="disabled-service"),
    step("d", "applied", "2024-09-30T16:00:00Z", county="130635", item="disabled-service"),  # already October
    step("e", "withdrawn", "2024-09-05T02:00:00Z", county="130607", item="credit-repair"),
]


@pytest_asyncio.fixture
async def client(database: TestDatabase) -> AsyncIterator[httpx.AsyncClient]:
    dsn = database.dsn("metrics")
    async with await postgres.open_pool(dsn, application="test", size=2) as pool:
        raw = [RawRecord(n, case_events.encoded(event)) for n, event in enumerate(EVENTS)]
        await counting.count_batch(pool, no_parking, "t", 0, 0, raw)
        await counting.fold_counters(pool)
    settings = Settings(postgres_dsn=SecretStr(dsn), reader_token=SecretStr("reader"), operator_token=SecretStr("operator"))
    app = build_api(settings, clock=lambda: datetime(2024, 10, 2, tzinfo=UTC))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://metrics", headers=TOKEN) as opened:
            yield opened


async def test_counts_have_a_row_for_every_unit_and_bound_business_days(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/counts", params={"item": "disabled-service", "as_of": "2024-09-30"})).json()
    assert (answer["item"], answer["from"], answer["as_of"]) == ("disabled-service", None, "2024-09-30")
    assert [row["county"] for row in answer["rows"]] == list(counties.BY_CODE)
    rows = {row["county"]: row for row in answer["rows"]}
    assert rows["130607"] == {
        "county": "130607", "name": "满城区", "handled": 2, "applied": 2, "accepted": 0, "completed": 2,
        "completed_on_time": 1, "not_accepted": 0, "returned": 0, "withdrawn": 0, "online": 1,
    }  # fmt: skip
    assert rows["130635"]["handled"] == 1
    assert answer["total"]["handled"] == 3
    later = (await client.get("/v1/counts", params={"item": "disabled-service"})).json()
    assert (later["as_of"], later["total"]["handled"]) == ("2024-10-02", 4)
    september = {"item": "disabled-service", "from": "2024-09-01", "as_of": "2024-09-30"}
    assert (await client.get("/v1/counts", params=september)).json()["total"]["handled"] == 2


async def test_counts_group_by_day_month_and_item(client: httpx.AsyncClient) -> None:
    months = (await client.get("/v1/counts", params={"item": "disabled-service", "group_by": "month"})).json()["rows"]
    assert [(row["month"], row["handled"]) for row in months] == [("2024-08", 1), ("2024-09", 2), ("2024-10", 1)]
    days = (await client.get("/v1/counts", params={"item": "disabled-service", "group_by": "day"})).json()["rows"]
    assert (days[0]["day"], days[-1]["day"], len(days)) == ("2024-08-30", "2024-10-01", 33)
    per_item = (await client.get("/v1/counts", params={"group_by": "item"})).json()
    assert {row["item"]: row["handled"] for row in per_item["rows"] if row["handled"]} == {
        "disabled-service": 4,
        "credit-repair": 1,
    }


async def test_ranking(client: httpx.AsyncClient) -> None:
    answer = (
        await client.get("/v1/ranking", params={"item": "disabled-service", "as_of": "2024-09-30", "top": 2, "low": 2})
    ).json()
    assert answer["total"] == 3
    assert answer["rows"] == [
        {"rank": 1, "county": "130607", "name": "满城区", "pilot": False, "count": 2, "share": pytest.approx(2 / 3)},
        {"rank": 2, "county": "130635", "name": "蠡县", "pilot": True, "count": 1, "share": pytest.approx(1 / 3)},
    ]
    assert len(answer["low"]) == 21
    assert len(answer["zero"]) == 20
    le = (await client.get("/v1/ranking", params={"item": "disabled-service", "low": 2, "low_op": "le"})).json()
    assert len(le["low"]) == 22


async def test_the_notice_in_both_forms(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/notices/2024-09", params={"item": "disabled-service"})
    assert answer.json()["paragraph"].startswith(
        "截至9月底,全市共办理“残疾人服务”一件事3件,办理量最高的是满城区(2件,占全市的66.7%)"
    )
    text = await client.get("/v1/notices/2024-09", params={"item": "disabled-service", "format": "md"})
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "| 1 | 满城区 |  | 2 | 66.7% | 2 |" in text.text


async def test_consistency_and_co_location(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/consistency")).json() == {"checked": 5, "drift": []}
    answer = (await client.get("/v1/co-location", params={"as_of": "2024-09-30"})).json()
    assert len(answer["counties"]) == 22
    assert answer["total"] == {"applicable": 0, "co_located": 0, "rate": None, "none_at_all": 22}


@pytest.mark.parametrize(
    ("path", "status", "pointer"),
    [
        ("/v1/counts?item=nothing", 422, "/query/item"),
        ("/v1/counts?as_of=tomorrow", 422, "/query/as_of"),
        ("/v1/counts?from=2024-10-01&as_of=2024-09-30", 422, "/query/from"),
        ("/v1/counts?group_by=village", 422, "/query/group_by"),
        ("/v1/ranking", 422, "/query/item"),
        ("/v1/ranking?item=disabled-service&measure=guessed", 422, "/query/measure"),
        ("/v1/ranking?item=disabled-service&top=0", 422, "/query/top"),
        ("/v1/notices/2024-13?item=disabled-service", 422, "/path/month"),
        ("/v1/notices/2024-11?item=disabled-service", 422, "/path/month"),
        ("/v1/consistency?county=999999", 422, "/query/county"),
        ("/v1/nothing", 404, None),
    ],
)
async def test_wrong_questions_get_a_problem_that_points_at_the_place(
    client: httpx.AsyncClient, path: str, status: int, pointer: str | None
) -> None:
    answer = await client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert [error["pointer"] for error in problem.get("errors", [])] == ([pointer] if pointer else [])


@pytest.mark.parametrize("token", ["", "Bearer wrong", "Bearer ", "Basic cmVhZGVy"])
async def test_without_the_token_nothing_is_read(client: httpx.AsyncClient, token: str) -> None:
    answer = await client.get("/v1/counts", headers={"Authorization": token})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert (await client.get("/v1/counts", headers={"Authorization": "Bearer operator"})).status_code == 200


async def test_health_and_contracts_are_open(client: httpx.AsyncClient) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json"):
        assert (await client.get(path, headers={"Authorization": ""})).status_code == 200, path
    assert "onething.case-events.v1" in (await client.get("/asyncapi.json")).text
