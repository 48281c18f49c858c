"""Rows of a dialect at intake's push edge: the same path, the same answer, and what stands on Kafka afterwards."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from services.intake.domain import dialects
from services.intake.domain.rows import MEDIA_TYPE
from services.intake.main import build_api
from services.intake.settings import SendersFileError, Settings, read_senders
from shared.kafka import Topics
from tests.conftest import Credentials
from tests.intake_support import PATH, SENDER, event, push, signed
from tests.utilities_support import events_of, records_of, running

EXAMPLES = Path(str(dialects.__file__)).parent / "exchange" / "examples"
PEOPLE = ("张三", "李四", "某证件号", "某手机号", "某街", "072150")


def _example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((EXAMPLES / f"{name}.json").read_bytes())
    return found


def _set_dialect(credentials: Credentials, **fields: Any) -> None:
    senders = json.loads(credentials.senders_file.read_text())
    senders[SENDER] |= fields
    credentials.senders_file.write_text(json.dumps(senders))


@pytest.fixture
async def client(kafka: str, topics: Topics, credentials: Credentials) -> AsyncIterator[httpx.AsyncClient]:
    (credentials.senders_file.parent / "codes.csv").write_bytes((EXAMPLES / "codes.csv").read_bytes())
    _set_dialect(credentials, dialect="exchange", codes="codes.csv")
    settings = Settings(
        kafka=kafka,
        topic_prefix=topics.prefix,
        senders_file=credentials.senders_file,
        receipt_key_file=credentials.receipt_key_file,
    )
    async with running(build_api(settings)) as found:
        yield found


async def _push(client: httpx.AsyncClient, secret: str, body: Any, *, message_id: str = "m-1") -> httpx.Response:
    content = json.dumps(body, ensure_ascii=False).encode()
    return await client.post(PATH, content=content, headers=signed(secret, content, MEDIA_TYPE, message_id=message_id))


async def test_rows_are_answered_one_by_one_and_published_as_events(
    client: httpx.AsyncClient, credentials: Credentials, kafka: str, topics: Topics
) -> None:
    secret = credentials.senders[SENDER]
    good, bad = _example("accept"), _example("accept_refused")
    answer = await _push(client, secret, {"table": "up_pro_accept", "rows": [*good["body"]["rows"], *bad["body"]["rows"]]})
    assert answer.status_code == 202
    body = answer.json()
    assert (body["accepted"], body["rejected"]) == (1, len(bad["results"]))
    assert body["results"][0] == {"index": 0, "id": good["results"][0]["id"], "status": "accepted"}
    for result, expected in zip(body["results"][1:], bad["results"], strict=True):
        assert result["problem"]["type"] == f"urn:onething:problem:{expected['reason']}"
        assert [error["pointer"] for error in result["problem"]["errors"]] == expected["pointers"]
    # Rows of another table, and events beside them; what says nothing that is counted is accepted and not published.
    process = await _push(client, secret, _example("process")["body"], message_id="m-2")
    assert (process.status_code, process.json()["accepted"]) == (202, 7)
    silent = await _push(client, secret, {"table": "up_pro_process", "rows": [_example("process")["body"]["rows"][2]]})
    assert (silent.status_code, silent.json()["accepted"]) == (202, 1)
    assert (await push(client, secret, event("e-1", "BD9"))).status_code == 202

    taken = events_of(await records_of(kafka, topics.case_events))
    expected_ids = [e["id"] for e in good["events"]] + [e["id"] for e in _example("process")["events"]] + ["e-1"]
    assert sorted(e["id"] for e in taken) == sorted(expected_ids)
    parked = events_of(await records_of(kafka, topics.parked))
    assert {e["data"]["reason"] for e in parked} >= {"unknown-code", "unknown-county", "malformed", "future", "invalid"}
    unknown = next(e["data"] for e in parked if e["subject"].endswith("/m-2/3"))
    assert (unknown["reason"], unknown["errors"][0]["pointer"]) == ("unknown-code", "/event_name")
    assert unknown["payload"]["table"] == "up_pro_process"
    assert unknown["payload"]["row"]["event_name"] == "88"
    everything = orjson.dumps([taken, parked]).decode() + answer.text + process.text
    assert not [person for person in PEOPLE if person in everything]


async def test_bodies_that_are_no_rows_and_rows_of_nobody(client: httpx.AsyncClient, credentials: Credentials) -> None:
    secret = credentials.senders[SENDER]
    for body, status, kind in (
        ([], 400, "malformed"),
        ({"table": "up_pro_accept"}, 400, "malformed"),
        ({"table": "up_pro_accept", "rows": []}, 422, "empty-batch"),
        ({"table": "up_pro_accept", "rows": [{}] * 1001}, 413, "too-large"),
        ({"table": "up_pro_special_procedure", "rows": [{}]}, 422, "unknown-table"),
        ({"table": "up_pro_accept", "rows": [{}, 1]}, 422, "all-rejected"),
    ):
        answer = await _push(client, secret, body)
        assert (answer.status_code, answer.json()["type"]) == (status, f"urn:onething:problem:{kind}")


async def test_a_sender_without_a_dialect_may_not_send_rows(kafka: str, topics: Topics, credentials: Credentials) -> None:
    settings = Settings(
        kafka=kafka,
        topic_prefix=topics.prefix,
        senders_file=credentials.senders_file,
        receipt_key_file=credentials.receipt_key_file,
    )
    async with running(build_api(settings)) as client:
        answer = await _push(client, credentials.senders[SENDER], _example("accept")["body"])
    assert (answer.status_code, answer.json()["type"]) == (415, "urn:onething:problem:media-type")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dialect": "klingon"}, "hebei-onething/dialect"),
        ({"codes": "codes.csv"}, "name it too"),
        ({"dialect": "exchange", "codes": "absent.csv"}, "absent.csv cannot be read"),
        ({"dialect": "exchange", "codes": "senders.json"}, "line 1"),
    ],
)
def test_a_dialect_that_cannot_be_used_is_told_at_the_senders_place(credentials: Credentials, fields: Any, says: str) -> None:
    _set_dialect(credentials, **fields)
    with pytest.raises(SendersFileError, match=says):
        read_senders(credentials.senders_file)
