"""The sample's push client against a receiver in the same process: what it signs, what it sends again, when it gives up."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest

from deploy.local import client
from deploy.local.client import PushClient, PushError, Tally, retry_after
from shared.signing import Key, Party, verify

SECRET = "whsec_" + "c2FtcGxlLXNlY3JldC1vZi0yNC1ieXRlcyEh"
URL = "http://receiver.test/v1/senders/s/events"

Answer = Callable[[httpx.Request], httpx.Response]


def accept(request: httpx.Request) -> httpx.Response:
    items = orjson.loads(request.content)
    results = [{"index": i, "id": item["id"], "status": "accepted"} for i, item in enumerate(items)]
    return httpx.Response(202, json={"accepted": len(items), "rejected": 0, "results": results})


def events(count: int) -> list[dict[str, Any]]:
    return [{"id": str(n)} for n in range(count)]


class Receiver:
    """Gives one answer after the other, the last one again and again; remembers the requests."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return (self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])(request)

    async def take(self, count: int, **options: Any) -> Tally:
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as http:
            return await PushClient(http, URL, SECRET, **options).push(events(count))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the client would have slept."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return found


def down(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


async def test_each_batch_is_signed_over_its_very_bytes() -> None:
    receiver = Receiver(accept)
    heard: list[int] = []
    async with httpx.AsyncClient(transport=httpx.MockTransport(receiver)) as http:
        tally = await PushClient(http, URL, SECRET, batch=2).push(events(5), heard.append)
    assert tally == Tally(accepted=5)
    assert heard == [2, 2, 1]
    assert [len(orjson.loads(request.content)) for request in receiver.requests] == [2, 2, 1]
    for request in receiver.requests:
        assert request.headers["content-type"] == "application/cloudevents-batch+json"
        verify(Party((Key(SECRET),)), request.headers, request.content, datetime.now(UTC))
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 3


async def test_what_is_not_known_to_be_stored_is_sent_again_with_the_same_id(waits: list[float]) -> None:
    receiver = Receiver(
        down,
        lambda _: httpx.Response(503, headers={"retry-after": "7"}),
        lambda _: httpx.Response(429, headers={"retry-after": "2"}),
        accept,
    )
    tally = await receiver.take(3)
    assert tally == Tally(accepted=3, retries=3)
    assert waits == [client.FIRST_WAIT_SECONDS, 7, 2]
    assert len({request.content for request in receiver.requests}) == 1
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


async def test_it_gives_up_after_its_patience(waits: list[float]) -> None:
    with pytest.raises(PushError, match="ConnectError after 3 attempts"):
        await Receiver(down).take(1, patience=3)
    assert waits == [0.5, 1.0]


async def test_a_refusal_is_not_sent_again() -> None:
    receiver = Receiver(lambda _: httpx.Response(401, json={"detail": "sign the raw body"}))
    with pytest.raises(PushError, match="401 sign the raw body"):
        await receiver.take(1)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [202, 422])
async def test_rejected_items_are_counted_by_reason(status: int) -> None:
    problem = {"type": "urn:onething:problem:unknown-county", "title": "Unknown county", "detail": ""}
    results = [{"index": 0, "id": "0", "status": "rejected", "problem": problem}]
    tally = await Receiver(lambda _: httpx.Response(status, json={"accepted": 0, "rejected": 1, "results": results})).take(1)
    assert (tally.accepted, tally.rejected, dict(tally.reasons)) == (0, 1, {"unknown-county": 1})


def test_retry_after_is_bounded_and_only_whole_seconds_are_read() -> None:
    assert [retry_after(header, 1.5) for header in ("4", "86400", "Mon, 30 Sep 2024 00:00:00 GMT", "", None)] == [
        4,
        30,
        1.5,
        1.5,
        1.5,
    ]
