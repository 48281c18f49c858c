"""The exact answers of intake's push edge, and what stands on Kafka afterwards."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest
from jsonschema import Draft202012Validator

from deploy.local.topics import create_topics, delete_topics
from services.intake.domain import rows
from services.intake.main import build_api
from services.intake.settings import Settings
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.kafka import Topics
from shared.push import MOST_BYTES
from tests.conftest import Credentials
from tests.intake_support import PATH, SENDER, changed, event, in_parts, push, signed
from tests.utilities_support import events_of, records_of, running

OTHERS = "urn:onething:province:shanxi"


@pytest.fixture
async def client(kafka: str, topics: Topics, credentials: Credentials) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the api, which runs within the test with its real lifespan."""
    settings = Settings(
        kafka=kafka, topic_prefix=topics.prefix, senders_file=credentials.senders_file,
        receipt_key_file=credentials.receipt_key_file,
    )  # fmt: skip
    async with running(build_api(settings)) as found:
        yield found


@pytest.fixture
def secret(credentials: Credentials) -> str:
    return credentials.senders[SENDER]


def _problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    body: dict[str, Any] = answer.json()
    assert (body["type"], body["status"]) == (f"urn:onething:problem:{kind}", status)
    assert body["title"]
    assert body["detail"]
    return body


def _pointers(body: dict[str, Any]) -> list[str]:
    return [error["pointer"] for error in body["errors"]]


async def _on(kafka: str, topics: Topics) -> tuple[list[str], list[str]]:
    """Ids on ``case-events``, origins on ``parked``."""
    taken, parked = await asyncio.gather(records_of(kafka, topics.case_events), records_of(kafka, topics.parked))
    return [e["id"] for e in events_of(taken)], [e["subject"] for e in events_of(parked)]


async def test_one_event_is_stored_when_the_answer_says_so(
    client: httpx.AsyncClient, secret: str, kafka: str, topics: Topics
) -> None:
    answer = await push(client, secret, event("e-1", "BD1", county="130621002003"))
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/json")
    told = answer.json()
    assert told.pop("receipt").count(".") == 2
    assert told == {"accepted": 1, "rejected": 0, "results": [{"index": 0, "id": "e-1", "status": "accepted"}]}
    [record] = await records_of(kafka, topics.case_events)
    assert record.key == b"BD1"
    assert dict(record.headers)["content-type"] == b"application/cloudevents+json; charset=UTF-8"
    [stored] = events_of([record])
    assert stored["data"]["county"] == "130607"


def _but_instance(answer: httpx.Response) -> bytes:
    content = answer.json()
    assert content.pop("instance") == f"urn:onething:request:{answer.headers['x-request-id']}"
    return orjson.dumps(content)


async def test_each_way_of_not_being_the_sender_gets_one_answer(
    client: httpx.AsyncClient, secret: str, credentials: Credentials
) -> None:
    body = orjson.dumps(event())
    good = signed(secret, body)
    stale = signed(secret, body, ahead=timedelta(seconds=-301))
    ahead = signed(secret, body, ahead=timedelta(seconds=310))
    wrong = signed(credentials.companies["water-1"], body)
    nobody = PATH.replace(SENDER, "nobody")
    answers = [
        await client.post(PATH, content=body, headers=wrong),
        await client.post(PATH, content=body, headers=stale),
        await client.post(PATH, content=body, headers=ahead),
        await client.post(nobody, content=body, headers=good),
        await client.post(PATH, content=body + b" ", headers=good),
        await client.post(PATH, content=body, headers={"content-type": MEDIA_TYPE}),
        await client.post(PATH, content=b"{", headers={"content-type": "text/plain"}),
    ]
    first = _problem(answers[0], 401, "signature")
    assert first["errors"] == []
    assert len({answer.content for answer in answers}) == len(answers), "each says which request it answers"
    assert {_but_instance(answer) for answer in answers} == {_but_instance(answers[0])}
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Signature"}


async def test_any_of_a_senders_keys_signs(kafka: str, topics: Topics, credentials: Credentials, secret: str) -> None:
    new = credentials.companies["gas-1"]
    senders = {SENDER: {"source": "urn:onething:province:hebei", "secrets": [secret, new]}}
    credentials.senders_file.write_text(orjson.dumps(senders).decode())
    settings = Settings(
        kafka=kafka, topic_prefix=topics.prefix, senders_file=credentials.senders_file,
        receipt_key_file=credentials.receipt_key_file,
    )  # fmt: skip
    async with running(build_api(settings)) as both:
        assert [(await push(both, key, event())).status_code for key in (secret, new)] == [202, 202]


async def test_another_sources_event_alone_is_403(client: httpx.AsyncClient, secret: str, kafka: str, topics: Topics) -> None:
    for content in (changed(event(), source=OTHERS), [changed(event(), source=OTHERS)], [changed(event(), source=OTHERS)] * 2):
        body = _problem(await push(client, secret, content), 403, "not-entitled")
        assert body["results"][0]["problem"]["errors"] == [{"pointer": "/source", "message": "not this sender's own source"}]
    assert await _on(kafka, topics) == ([], [])


async def test_in_a_batch_anothers_event_is_rejected_and_the_others_stand(
    client: httpx.AsyncClient, secret: str, kafka: str, topics: Topics
) -> None:
    answer = await push(client, secret, [event("e-1"), changed(event("e-2"), source=OTHERS), event("e-3")])
    assert answer.status_code == 202
    body = answer.json()
    assert (body["accepted"], body["rejected"]) == (2, 1)
    assert [(r["index"], r["id"], r["status"]) for r in body["results"]] == [
        (0, "e-1", "accepted"), (1, "e-2", "rejected"), (2, "e-3", "accepted"),
    ]  # fmt: skip
    problem = body["results"][1]["problem"]
    assert (problem["type"], _pointers(problem)) == ("urn:onething:problem:not-entitled", ["/source"])
    assert await _on(kafka, topics) == (["e-1", "e-3"], [f"http/intake/{SENDER}/m-1/1"])


@pytest.mark.parametrize(
    ("fields", "kind", "pointer", "said"),
    [
        ({"county": "130102"}, "unknown-county", "/data/county", "130102 is not in the roster; allowed: 130602, "),
        ({"county": "130682"}, "unknown-county", "/data/county", "定州市 (130682) is governed elsewhere"),
        ({"item": "tea"}, "unknown-item", "/data/item", "allowed: enterprise-change, "),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, "future", "/data/occurred_at", "over 10 minutes ahead of our clock"),
        ({"recorded_at": "2999-01-01T00:00:00Z"}, "future", "/data/recorded_at", "over 10 minutes ahead of our clock"),
        ({"occurred_at": 1727658000}, "invalid", "/data/occurred_at", "RFC 3339 string with offset"),
        ({"case_no": "BD2"}, "invalid", "/subject", "the subject is the case number"),
        ({"channel": "a\nb"}, "malformed", "/data/channel", "control character"),
    ],
)
async def test_an_event_that_cannot_be_used_is_told_where_and_why(
    client: httpx.AsyncClient, secret: str, kafka: str, topics: Topics, fields: dict[str, Any], kind: str, pointer: str, said: str
) -> None:
    bad = event("e-2", **fields)
    bad["subject"] = "BD1"
    alone = _problem(await push(client, secret, bad), 422, kind)
    assert _pointers(alone) == [pointer]
    assert said in alone["errors"][0]["message"]
    assert await _on(kafka, topics) == ([], [])
    mixed = (await push(client, secret, [event("e-1"), bad])).json()
    problem = mixed["results"][1]["problem"]
    assert (mixed["accepted"], problem["type"], problem["errors"]) == (1, alone["type"], alone["errors"])
    assert await _on(kafka, topics) == (["e-1"], [f"http/intake/{SENDER}/m-1/1"])


@pytest.mark.parametrize("body", [b"{", b"", b'{"a": NaN}', b"[" * 3000 + b"]" * 3000, b'{"a": "\\ud800"}', b"[1]"])
async def test_broken_json_is_400(client: httpx.AsyncClient, secret: str, body: bytes) -> None:
    _problem(await client.post(PATH, content=body, headers=signed(secret, body)), 400, "malformed")


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "application/cloudevents", ""])
async def test_another_media_type_is_415(client: httpx.AsyncClient, secret: str, media_type: str) -> None:
    body = orjson.dumps(event())
    answer = await client.post(PATH, content=body, headers=signed(secret, body, media_type))
    assert BATCH_MEDIA_TYPE in _problem(answer, 415, "media-type")["detail"]


async def test_an_oversized_body_is_413_announced_or_in_chunks(client: httpx.AsyncClient, secret: str) -> None:
    body = orjson.dumps([event(applicant={"note": "x" * MOST_BYTES})])
    headers = signed(secret, body, BATCH_MEDIA_TYPE)
    announced = await client.post(PATH, content=body, headers=headers)
    chunked = await client.post(PATH, content=in_parts([body[:100_000], body[100_000:]]), headers=headers)
    _problem(announced, 413, "too-large")
    assert _but_instance(chunked) == _but_instance(announced)


async def test_an_empty_batch_is_422_and_1001_events_are_413(
    client: httpx.AsyncClient, secret: str, kafka: str, topics: Topics
) -> None:
    _problem(await push(client, secret, []), 422, "empty-batch")
    _problem(await push(client, secret, [event(f"e-{n}") for n in range(1001)]), 413, "too-large")
    assert await _on(kafka, topics) == ([], [])
    answer = await push(client, secret, [event(f"e-{n}", f"BD{n}") for n in range(1000)])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1000)
    assert len(await records_of(kafka, topics.case_events)) == 1000


async def test_an_item_that_is_no_object_is_rejected_without_an_id(client: httpx.AsyncClient, secret: str) -> None:
    body = (await push(client, secret, [1, event("e-1"), None, [event()], "x"])).json()
    assert [(r["id"], r["status"]) for r in body["results"]] == [
        (None, "rejected"), ("e-1", "accepted"), (None, "rejected"), (None, "rejected"), (None, "rejected"),
    ]  # fmt: skip
    assert body["results"][0]["problem"]["errors"] == [{"pointer": "", "message": "an event is a JSON object"}]


async def test_all_rejected_is_422_with_every_result_and_parks_nothing(
    client: httpx.AsyncClient, secret: str, kafka: str, topics: Topics
) -> None:
    answer = await push(client, secret, [event("e-1", county="1"), changed(event("e-2"), source=OTHERS), 3])
    body = _problem(answer, 422, "all-rejected")
    assert (body["accepted"], body["rejected"]) == (0, 3)
    kinds = [result["problem"]["type"].rpartition(":")[2] for result in body["results"]]
    assert kinds == ["unknown-county", "not-entitled", "malformed"]
    assert await _on(kafka, topics) == ([], [])


async def test_what_is_rejected_within_a_202_is_parked_without_people_and_once_a_request(
    client: httpx.AsyncClient, secret: str, kafka: str, topics: Topics
) -> None:
    bad = event("e-2", "BD2", county="130102", applicant={"name": "张三"}, channel="张三")
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    batch = [event("e-1"), bad, "张三", event("e-3", applicant=deep)]
    for _ in range(2):
        assert (await push(client, secret, batch, message_id="order 1")).status_code == 202
    records = await records_of(kafka, topics.parked)
    parked = {e["subject"]: e for e in events_of(records)}
    assert {record.key.decode() for record in records if record.key} == parked.keys()
    assert len(records) == 2 * len(parked) == 6
    first = parked[f"http/intake/{SENDER}/order_1/1"]
    assert len({e["id"] for e in events_of(records)}) == 3
    assert first["type"] == "cn.onething.parked.v1"
    data = first["data"]
    assert (data["reason"], data["sender"], data["event_id"]) == ("unknown-county", SENDER, "e-2")
    assert _pointers(data) == ["/data/county", "/data/channel"]
    assert data["payload"]["data"] == {
        "case_no": "BD2", "item": "disabled-service", "county": "130102", "step": "applied", "channel": "«removed»",
        "occurred_at": "2024-09-30T09:00:00+08:00", "recorded_at": "2024-09-30T09:00:01.000002+08:00",
    }  # fmt: skip
    assert "payload" not in parked[f"http/intake/{SENDER}/order_1/2"]["data"]
    assert "张" not in b"".join(record.value or b"" for record in records).decode()


async def test_the_same_id_twice_is_accepted_twice(client: httpx.AsyncClient, secret: str, kafka: str, topics: Topics) -> None:
    assert (await push(client, secret, [event("e-1"), event("e-1")])).json()["accepted"] == 2
    assert (await push(client, secret, event("e-1"))).status_code == 202
    assert (await _on(kafka, topics))[0] == ["e-1"] * 3


async def test_unknown_fields_are_ignored_and_counted(client: httpx.AsyncClient, secret: str) -> None:
    async def counted() -> float:
        text = (await client.get("/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith('onething_push_ignored_fields_total{service="intake"}')]
        return float(lines[0].split()[-1]) if lines else 0.0

    before = await counted()
    assert (await push(client, secret, event(sn="1", projid="2", applicant={"name": "x"}))).status_code == 202
    assert await counted() == before + 2


async def test_other_paths_and_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    _problem(await client.get(PATH), 405, "method-not-allowed")
    _problem(await client.post("/v1/senders"), 404, "not-found")


async def test_it_is_ready_alive_and_documented(client: httpx.AsyncClient, secret: str) -> None:
    assert (await client.get("/livez")).status_code == 200
    assert (await client.get("/readyz")).json() == {"status": "ready", "wrong": {}}
    openapi = (await client.get("/openapi.json")).json()
    operation = openapi["paths"]["/v1/senders/{sender_id}/events"]["post"]
    assert operation["requestBody"]["content"].keys() == {MEDIA_TYPE, BATCH_MEDIA_TYPE, "application/json", rows.MEDIA_TYPE}
    assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= {p["name"] for p in operation["parameters"]}
    answers = operation["responses"]
    assert {"202", "400", "401", "403", "413", "415", "422", "503"} <= answers.keys()
    example = operation["requestBody"]["content"][MEDIA_TYPE]["schema"]["example"]
    assert (await push(client, secret, example)).status_code == 202
    # What is documented is what is answered.
    for content in (event(county="1"), changed(event(), source=OTHERS), [event(), 1]):
        answer = await push(client, secret, content)
        documented = answers[str(answer.status_code)]["content"]
        schema = documented[answer.headers["content-type"]]["schema"]
        Draft202012Validator(schema | {"components": openapi["components"]}).validate(answer.json())


async def test_the_worker_is_documented(client: httpx.AsyncClient, topics: Topics) -> None:
    asyncapi = (await client.get("/asyncapi.json")).json()
    assert asyncapi["asyncapi"].startswith("3.")
    assert topics.province_push in orjson.dumps(asyncapi["channels"]).decode()


async def test_a_large_event_is_judged_by_what_we_keep_of_it_and_one_too_large_for_the_topic_is_said_to_be(
    client: httpx.AsyncClient, secret: str, kafka: str, topics: Topics, credentials: Credentials
) -> None:
    # What is not ours is dropped, however much it is; what is wrong is parked without it.
    weight = "x" * 1_300_000
    heavy = event("heavy", "BD1", applicant={"note": weight}, extra=weight)
    assert (await push(client, secret, heavy)).status_code == 202
    both = await push(client, secret, [heavy, event("wrong", "BD2", county=weight)])
    assert [result["status"] for result in both.json()["results"]] == ["accepted", "rejected"]
    assert await _on(kafka, topics) == (["heavy", "heavy"], [f"http/intake/{SENDER}/m-1/1"])

    narrow = Topics(f"{topics.prefix}n")
    specs = [
        replace(spec, config=spec.config | {"max.message.bytes": "560"}) if spec.name == narrow.case_events else spec
        for spec in narrow.specs()
    ]
    await create_topics(kafka, specs)
    settings = Settings(
        kafka=kafka, topic_prefix=narrow.prefix, senders_file=credentials.senders_file,
        receipt_key_file=credentials.receipt_key_file,
    )  # fmt: skip
    long = event("l" * 128, "C" * 64)
    async with running(build_api(settings)) as narrow_client:
        alone = await push(narrow_client, secret, long)
        batch = await push(narrow_client, secret, [event("a", "BD1"), long, event("b", "BD2"), event("c", "BD3", county="x")])
        only = await push(narrow_client, secret, [long, event("c", "BD3", county="x")])
    body = _problem(alone, 413, "too-large")
    assert "larger than Kafka takes" in body["errors"][0]["message"]
    assert [result["status"] for result in batch.json()["results"]] == ["accepted", "rejected", "accepted", "rejected"]
    assert batch.json()["results"][1]["problem"]["type"] == "urn:onething:problem:too-large"
    _problem(only, 422, "all-rejected")
    taken, parked = await _on(kafka, narrow)
    # What goes again beside the parked changes nothing.
    assert set(taken) == {"a", "b"}
    assert set(parked) == {f"http/intake/{SENDER}/m-1/{index}" for index in (1, 3)}
    await delete_topics(kafka, [spec.name for spec in specs])
