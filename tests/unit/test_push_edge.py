"""Reading and framing a push: what is refused before any event is judged."""

from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from fastapi import Request

from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.problems import ProblemError
from shared.push import MOST_BYTES, parse, read_body


def _request(parts: Iterable[bytes] = (), **headers: str) -> Request:
    waiting = list(parts)

    async def receive() -> dict[str, Any]:
        part = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def _parse(body: bytes, media_type: str = MEDIA_TYPE) -> Any:
    return parse(_request(content_type=media_type, webhook_id="m-1"), body)


async def test_a_body_of_the_greatest_size_is_read_whole() -> None:
    assert len(await read_body(_request([b"x" * 1000] * (MOST_BYTES // 1000) + [b"y" * (MOST_BYTES % 1000)]))) == MOST_BYTES


@pytest.mark.parametrize("announced", [True, False])
async def test_one_byte_more_is_too_large_announced_or_not(announced: bool) -> None:
    headers = {"content_length": str(MOST_BYTES + 1)} if announced else {}
    with pytest.raises(ProblemError) as caught:
        await read_body(_request([b"x" * (MOST_BYTES + 1)], **headers))
    assert (caught.value.status, caught.value.body.type) == (413, "urn:onething:problem:too-large")


async def test_an_announced_length_that_is_too_large_is_refused_before_a_byte_is_read() -> None:
    request = _request([b"x"], content_length=str(10**9))
    with pytest.raises(ProblemError):
        await read_body(request)
    assert (await request.receive())["body"] == b"x"


@pytest.mark.parametrize("announced", ["²", "-1", "x", ""])
async def test_a_length_that_is_no_number_is_left_to_the_count(announced: str) -> None:
    assert await read_body(_request([b"abc"], content_length=announced)) == b"abc"


@pytest.mark.parametrize("media_type", [MEDIA_TYPE, f"{MEDIA_TYPE}; charset=UTF-8", MEDIA_TYPE.upper()])
def test_a_structured_event_is_a_push_of_one(media_type: str) -> None:
    push = _parse(b'{"id": "e"}', media_type)
    assert (push.items, push.batch, push.request_id) == ([{"id": "e"}], False, "m-1")


def test_a_batch_keeps_its_items_in_order_whatever_they_are() -> None:
    assert _parse(b'[1, {"id": "e"}, null]', BATCH_MEDIA_TYPE).items == [1, {"id": "e"}, None]


@pytest.mark.parametrize(
    ("media_type", "body", "status", "problem"),
    [
        ("application/json", b"{}", 415, "media-type"),
        ("", b"{}", 415, "media-type"),
        (f"x{MEDIA_TYPE}", b"{}", 415, "media-type"),
        (MEDIA_TYPE, b"", 400, "malformed"),
        (MEDIA_TYPE, b"{", 400, "malformed"),
        (MEDIA_TYPE, b'{"a": NaN}', 400, "malformed"),
        (MEDIA_TYPE, b'{"a": 1e999}', 400, "malformed"),
        (MEDIA_TYPE, b'{"a": "\\ud800"}', 400, "malformed"),
        (MEDIA_TYPE, b'{"a": "\xff"}', 400, "malformed"),
        (MEDIA_TYPE, b"[" * 5000 + b"]" * 5000, 400, "malformed"),
        (MEDIA_TYPE, b"[]", 400, "malformed"),
        (MEDIA_TYPE, b"null", 400, "malformed"),
        (BATCH_MEDIA_TYPE, b"{}", 400, "malformed"),
        (BATCH_MEDIA_TYPE, b"[]", 422, "empty-batch"),
        (BATCH_MEDIA_TYPE, orjson.dumps([1] * 1001), 413, "too-large"),
    ],
)
def test_what_cannot_be_framed_is_refused_whole(media_type: str, body: bytes, status: int, problem: str) -> None:
    with pytest.raises(ProblemError) as caught:
        _parse(body, media_type)
    assert (caught.value.status, caught.value.body.type) == (status, f"urn:onething:problem:{problem}")


def test_a_thousand_events_are_not_too_many() -> None:
    assert len(_parse(orjson.dumps([1] * 1000), BATCH_MEDIA_TYPE).items) == 1000


def test_broken_json_is_told_its_place() -> None:
    with pytest.raises(ProblemError, match="line 2, column 5"):
        _parse(b'{"a": 1,\n"b" 2}')
