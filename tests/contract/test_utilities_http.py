"""The companies' push edge over real Kafka and PostgreSQL: each answer as CONTRACT §2 has it, and what it leaves behind."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from deploy.local.topics import create_topics, delete_topics
from services.utilities.domain.sheets.layout import MEDIA_TYPE as LAYOUT_MEDIA_TYPE
from services.utilities.main import build_api
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.kafka import Topics
from tests import utilities_oracle as oracle
from tests.conftest import Credentials, TestDatabase
from tests.sheets import STEP, filled
from tests.utilities_support import events_of, import_registry, push, records_of, running, settings, signed


@dataclass(frozen=True)
class Edge:
    """The running api, and where its records go."""

    client: httpx.AsyncClient
    kafka: str
    topics: Topics
    secrets: dict[str, str]

    async def push(self, content: Any, company: str = "gas-1") -> httpx.Response:
        return await push(self.client, company, self.secrets[company], content)

    async def published(self) -> list[dict[str, Any]]:
        return events_of(await records_of(self.kafka, self.topics.utility_events))

    async def parked(self) -> list[dict[str, Any]]:
        return [event["data"] for event in events_of(await records_of(self.kafka, self.topics.parked))]


@pytest.fixture
async def edge(kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials) -> AsyncIterator[Edge]:
    dsn = database.dsn("utilities")
    await import_registry(dsn)
    app = build_api(settings(kafka, topics.prefix, dsn, credentials.companies_file))
    async with running(app) as client:
        yield Edge(client, kafka, topics, credentials.companies)


def _step(event_id: str = "e1", company: str = "gas-1", **data: Any) -> oracle.Event:
    given = {"county": "130607", "service": "gas", "step": "accepted", "occurred_at": "2024-05-01T00:00:00Z"} | data
    return oracle.installation(company, "AZ1", event_id=event_id, recorded_at="2024-05-01T01:00:00Z", **given)


def _is_problem(response: httpx.Response, status: int, reason: str) -> None:
    assert (response.status_code, response.json()["type"]) == (status, f"urn:onething:problem:{reason}")
    assert response.headers["content-type"] == "application/problem+json"


async def test_an_event_is_answered_once_it_stands_on_the_topic(edge: Edge) -> None:
    response = await edge.push(_step(county="130621"))
    assert response.status_code == 202
    told = response.json()
    assert told.pop("receipt").count(".") == 2
    assert told == {"accepted": 1, "rejected": 0, "results": [{"index": 0, "id": "e1", "status": "accepted"}]}
    (record,) = await records_of(edge.kafka, edge.topics.utility_events)
    assert record.key == b"AZ1"
    (event,) = events_of([record])
    assert (event["subject"], event["data"]["county"]) == ("AZ1", "130607")


async def test_who_is_not_proven_gets_the_same_words_whatever_is_wrong(edge: Edge) -> None:
    body, secrets, path = b"{}", edge.secrets, "/v1/companies/gas-1/events"
    good = signed(secrets["gas-1"], body, MEDIA_TYPE)
    answers = [
        await edge.client.post(path, content=body, headers=signed(secrets["water-1"], body, MEDIA_TYPE)),
        await edge.client.post(path, content=body, headers=signed(secrets["gas-1"], body, MEDIA_TYPE, age=301)),
        await edge.client.post(path, content=b"[]", headers=good),
        await edge.client.post("/v1/companies/nobody/events", content=body, headers=good),
        await edge.client.post(path, content=body, headers={"content-type": MEDIA_TYPE}),
    ]
    for answer in answers:
        _is_problem(answer, 401, "signature")
    assert len({str(answer.json() | {"instance": ""}) for answer in answers}) == 1


async def test_another_companys_event_alone_is_403_and_parks_nothing(edge: Edge) -> None:
    response = await edge.push(_step(company="water-1"))
    _is_problem(response, 403, "not-entitled")
    assert response.json()["errors"][0]["pointer"] == "/source"
    assert (await edge.published(), await edge.parked()) == ([], [])


async def test_another_companys_event_in_a_batch_is_rejected_and_parked_and_the_others_stand(edge: Edge) -> None:
    response = await edge.push([_step("own"), _step("others", company="water-1"), _step("nowhere", county="999999")])
    assert response.status_code == 202
    answer = response.json()
    assert (answer["accepted"], answer["rejected"]) == (1, 2)
    assert [result["status"] for result in answer["results"]] == ["accepted", "rejected", "rejected"]
    assert [result["problem"]["type"].rpartition(":")[2] for result in answer["results"][1:]] == ["not-entitled", "unknown-county"]
    assert [event["id"] for event in await edge.published()] == ["own"]
    parked = sorted(await edge.parked(), key=lambda data: data["origin"])
    assert [(data["origin"], data["reason"], data["sender"], data["event_id"]) for data in parked] == [
        ("http/utilities/gas-1/m-1/1", "not-entitled", "gas-1", "others"),
        ("http/utilities/gas-1/m-1/2", "unknown-county", "gas-1", "nowhere"),
    ]


async def test_a_county_that_the_company_never_serves_is_403_and_one_that_it_once_served_is_taken(edge: Edge) -> None:
    _is_problem(await edge.push(_step(county="130609")), 403, "not-entitled")
    assert (await edge.push(_step(occurred_at="2024-09-01T00:00:00Z"))).status_code == 202


async def test_what_a_company_writes_freely_is_not_shown_where_it_is_parked(edge: Edge) -> None:
    await edge.push([_step("good"), _step("bad", county="999999", reason="wangwu13800138000")])
    (parked,) = await edge.parked()
    assert "reason" not in parked["payload"]["data"]
    assert parked["payload"]["data"]["step"] == "accepted"


@pytest.mark.parametrize(
    ("wrong", "reason", "pointer"),
    [
        ({"county": "999999"}, "unknown-county", "/data/county"),
        ({"step": "painted"}, "invalid", "/data/step"),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, "future", "/data/occurred_at"),
    ],
)
async def test_an_event_that_cannot_be_used_is_422_with_its_place(
    edge: Edge, wrong: dict[str, str], reason: str, pointer: str
) -> None:
    response = await edge.push(_step(**wrong))
    _is_problem(response, 422, reason)
    (result,) = response.json()["results"]
    assert [error["pointer"] for error in result["problem"]["errors"]] == [pointer]
    assert (await edge.published(), await edge.parked()) == ([], [])


async def test_bodies_that_cannot_be_read(edge: Edge) -> None:
    async def post(body: bytes, media_type: str = MEDIA_TYPE) -> httpx.Response:
        headers = signed(edge.secrets["gas-1"], body, media_type)
        return await edge.client.post("/v1/companies/gas-1/events", content=body, headers=headers)

    _is_problem(await post(b'{"id": '), 400, "malformed")
    _is_problem(await post(b"{}", "application/json"), 415, "media-type")
    _is_problem(await post(b"[]", BATCH_MEDIA_TYPE), 422, "empty-batch")
    _is_problem(await post(b"[" + b"{}," * 1000 + b"{}]", BATCH_MEDIA_TYPE), 413, "too-large")
    _is_problem(await post(b" " * (5 * 1024 * 1024 + 1)), 413, "too-large")
    assert (await edge.published(), await edge.parked()) == ([], [])


async def test_ready_when_kafka_and_database_answer(edge: Edge) -> None:
    response = await edge.client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "wrong": {}})


async def test_without_a_registry_nobody_is_judged_and_the_fault_is_ours(
    kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials
) -> None:
    app = build_api(settings(kafka, topics.prefix, database.dsn("utilities"), credentials.companies_file))
    async with running(app) as client:
        response = await push(client, "gas-1", credentials.companies["gas-1"], _step())
        _is_problem(response, 503, "registry-unknown")
        assert response.headers["retry-after"]
        await import_registry(database.dsn("utilities"))
        await asyncio.sleep(1.1)
        assert (await push(client, "gas-1", credentials.companies["gas-1"], _step())).status_code == 202


async def test_without_kafka_nothing_is_said_to_be_stored(database: TestDatabase, credentials: Credentials) -> None:
    await import_registry(database.dsn("utilities"))
    app = build_api(settings("127.0.0.1:1", "none", database.dsn("utilities"), credentials.companies_file))
    async with running(app) as client:
        response = await push(client, "gas-1", credentials.companies["gas-1"], _step())
        _is_problem(response, 503, "not-known-to-be-stored")
        assert response.headers["retry-after"]
        ready = await client.get("/readyz")
        assert (ready.status_code, list(ready.json()["wrong"])) == (503, ["kafka"])


async def test_an_event_or_a_sheet_too_large_for_the_topic_is_said_to_be(
    edge: Edge, database: TestDatabase, credentials: Credentials
) -> None:
    narrow = Topics(f"{edge.topics.prefix}n")
    specs = [
        replace(spec, config=spec.config | {"max.message.bytes": "900"}) if spec.name == narrow.utility_events else spec
        for spec in narrow.specs()
    ]
    await create_topics(edge.kafka, specs)
    app = build_api(settings(edge.kafka, narrow.prefix, database.dsn("utilities"), credentials.companies_file))
    async with running(app) as client:
        small = Edge(client, edge.kafka, narrow, edge.secrets)
        long = _step("long", reason="长" * 200)
        _is_problem(await small.push(long), 413, "too-large")
        batch = (await small.push([_step("short"), long])).json()
        assert [result["status"] for result in batch["results"]] == ["accepted", "rejected"]
        content = filled([STEP, STEP | {"报装编号": "GS-2", "说明": "长" * 200}])
        headers = signed(edge.secrets["gas-1"], content, LAYOUT_MEDIA_TYPE)
        sheet = await client.post("/v1/companies/gas-1/sheets", content=content, headers=headers)
        _is_problem(sheet, 413, "message-too-large")
        assert "请告诉审批局" in sheet.json()["detail"]
        assert {event["id"] for event in await small.published()} >= {"short"}
        assert {parked["reason"] for parked in await small.parked()} == {"too-large"}
    await delete_topics(edge.kafka, [spec.name for spec in specs])
