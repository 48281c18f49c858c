"""The signed push edge that intake and utilities share: from raw bytes to one verdict an item, and back to an answer."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import orjson
from fastapi import Request
from fastapi.responses import JSONResponse
from prometheus_client import Counter

from shared.clock import Clock
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.kafka.publisher import KafkaUnavailable, Message, Publisher
from shared.parking import parked_event
from shared.problems import ProblemError, problem
from shared.signing import Key, Party, SignatureError, verify
from shared.verdicts import NOT_ENTITLED, Accepted, Rejected, Verdict

MOST_BYTES: Final = 5 * 1024 * 1024
MOST_EVENTS: Final = 1000

Judge = Callable[[object], Verdict]

EVENTS = Counter("onething_push_events_total", "Pushed events by service and outcome.", ["service", "outcome"])
IGNORED_FIELDS = Counter("onething_push_ignored_fields_total", "Unknown fields left out of pushed events.", ["service"])

TITLES: Final = {
    NOT_ENTITLED: "Not entitled",
    "malformed": "Malformed event",
    "unknown-county": "Unknown county",
    "unknown-item": "Unknown item",
    "future": "Time in the future",
    "invalid": "Invalid event",
}

# Nobody has this key. It is compared with when the sender is unknown, so that the answer takes as long.
_NOBODY: Final = Party((Key("whsec_" + "bm9ib2R5IGhhcyB0aGlzIGtleS4uLi4uLi4="),))


@dataclass(frozen=True, slots=True)
class Push:
    """A verified request: its items as JSON values, and how it was framed."""

    request_id: str
    items: list[Any]
    batch: bool


async def read_body(request: Request) -> bytes:
    """The body's raw bytes.

    Raises:
        ProblemError: 413 over 5 MiB, also when the length was not announced.
    """
    parts: list[bytes] = []
    length = 0
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > MOST_BYTES:
        raise _too_large()
    async for part in request.stream():
        length += len(part)
        if length > MOST_BYTES:
            raise _too_large()
        parts.append(part)
    return b"".join(parts)


def _too_large() -> ProblemError:
    return ProblemError(413, "too-large", f"send at most {MOST_BYTES} bytes and {MOST_EVENTS} events a request: split the batch")


def authenticate(request: Request, party: Party | None, body: bytes, clock: Clock) -> None:
    """Verifies the signature; ``party`` is ``None`` for an unknown sender.

    Raises:
        ProblemError: 401, with the same words for an unknown sender, a bad signature and a stale timestamp.
    """
    try:
        verify(party or _NOBODY, request.headers, body, clock())
        if party is not None:
            return
    except SignatureError:
        pass
    raise ProblemError(
        401,
        "signature",
        "sign the raw body with your secret by Standard Webhooks (webhook-id, webhook-timestamp within 300 s, webhook-signature)",
    )


Unpack = Callable[[Any], list[Any]]
"""From a decoded JSON body to its items. Raises a :class:`ProblemError` (400) where the body is not of that form."""


def parse(request: Request, body: bytes, further: Mapping[str, Unpack] = MappingProxyType({})) -> Push:
    """The items of a structured or batch CloudEvents body, or of a ``further`` media type that this sender may use.

    Raises:
        ProblemError: 415 for another media type, 400 for broken JSON, 422 for an empty batch, 413 for too many events.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (MEDIA_TYPE, BATCH_MEDIA_TYPE, *further):
        raise ProblemError(415, "media-type", "send " + " or ".join((MEDIA_TYPE, BATCH_MEDIA_TYPE, *further)))
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProblemError(
            400, "malformed", f"the body is not JSON in UTF-8: see line {error.lineno}, column {error.colno}"
        ) from None
    request_id = request.headers["webhook-id"]
    if media_type == MEDIA_TYPE:
        if not isinstance(content, dict):
            raise ProblemError(400, "malformed", f"{MEDIA_TYPE} holds one JSON object; for a list send {BATCH_MEDIA_TYPE}")
        return Push(request_id, [content], batch=False)
    if media_type in further:
        content = further[media_type](content)
    if not isinstance(content, list):
        raise ProblemError(400, "malformed", f"{BATCH_MEDIA_TYPE} holds a JSON array; for one event send {MEDIA_TYPE}")
    if not content:
        raise ProblemError(422, "empty-batch", "the batch is empty: send at least one event")
    if len(content) > MOST_EVENTS:
        raise _too_large()
    return Push(request_id, content, batch=True)


async def settle(
    push: Push,
    judge: Judge,
    publisher: Publisher,
    *,
    service: str,
    sender: str,
    topic: str,
    parked_topic: str,
    shown_fields: Collection[str],
    clock: Clock,
) -> JSONResponse:
    """Judges every item, publishes what is accepted, parks what is not, and answers only when that is durable.

    Raises:
        ProblemError: 403 or 422 with the results when no item is accepted (then nothing is parked: the sender was
            told and keeps them); 503 when Kafka does not confirm in time.
    """
    verdicts = [judge(item) for item in push.items]
    results = [_result(index, verdict) for index, verdict in enumerate(verdicts)]
    rejected = [verdict for verdict in verdicts if isinstance(verdict, Rejected)]
    EVENTS.labels(service, "rejected").inc(len(rejected))
    if len(rejected) == len(verdicts):
        raise _all_rejected(rejected, results)
    now = clock()
    messages: list[Message] = []
    for index, (item, verdict) in enumerate(zip(push.items, verdicts, strict=True)):
        if isinstance(verdict, Accepted):
            messages.append(Message(topic, verdict.key, verdict.value))
            continue
        origin = f"http/{service}/{sender}/{_printable(push.request_id)}/{index}"
        value = parked_event(
            service=service, origin=origin, verdict=verdict, raw=_bytes_of(item), item=item,
            fields=shown_fields, sender=sender, at=now,
        )  # fmt: skip
        messages.append(Message(parked_topic, origin, value))
    try:
        await publisher.publish(messages)
    except KafkaUnavailable:
        EVENTS.labels(service, "unavailable").inc(len(verdicts))
        raise ProblemError(
            503, "not-known-to-be-stored", "send the same events again with the same ids; sending twice never counts twice",
            retry_after=5,
        ) from None  # fmt: skip
    accepted = len(verdicts) - len(rejected)
    EVENTS.labels(service, "accepted").inc(accepted)
    IGNORED_FIELDS.labels(service).inc(sum(v.ignored for v in verdicts if isinstance(v, Accepted)))
    return JSONResponse({"accepted": accepted, "rejected": len(rejected), "results": results}, 202)


def _all_rejected(rejected: Sequence[Rejected], results: list[dict[str, Any]]) -> ProblemError:
    answer = {"accepted": 0, "rejected": len(rejected), "results": results}
    errors = rejected[0].errors if len(rejected) == 1 else ()
    if all(verdict.reason == NOT_ENTITLED for verdict in rejected):
        return ProblemError(403, NOT_ENTITLED, "these events are not yours to send: see the results", errors=errors, extra=answer)
    reason = rejected[0].reason if len(rejected) == 1 else "all-rejected"
    return ProblemError(
        422, reason, "no event was accepted: mend what the results name and send them again", errors=errors, extra=answer
    )


def _result(index: int, verdict: Verdict) -> dict[str, Any]:
    if isinstance(verdict, Accepted):
        return {"index": index, "id": verdict.event_id, "status": "accepted"}
    body = problem(
        verdict.reason, TITLES.get(verdict.reason, "Rejected"), "mend the places named in errors and send it again", verdict.errors
    )
    return {"index": index, "id": verdict.event_id, "status": "rejected", "problem": body.model_dump(exclude_none=True)}


def _bytes_of(item: object) -> bytes:
    """The item's JSON, for its digest; empty where it is nested too deeply to be written again."""
    try:
        return orjson.dumps(item)
    except orjson.JSONEncodeError:
        return b""


def _printable(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in text)[:128]
