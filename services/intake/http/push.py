"""The push edge of the province's senders: verify, parse, judge, publish, answer (CONTRACT §2)."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from services.intake.domain import SHOWN_FIELDS, Sender, rows
from shared.events import case
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.events.messages import PushedCaseEvent, inlined
from shared.kafka import Publisher, Topics
from shared.problems import Problem, ProblemError, described
from shared.push import HANDSHAKE, JSON_MEDIA_TYPE, MOST_EVENTS, Edge, Unpack, handshake, settle


class Result(BaseModel):
    """What became of one event. ``problem`` stands with a rejected one."""

    index: int
    id: str | None
    status: Literal["accepted", "rejected"]
    problem: Problem | None = None


class Answer(BaseModel):
    """What became of a request's events, in their order."""

    accepted: int
    rejected: int
    results: list[Result]
    receipt: str = Field(description="A compact JWS (Ed25519, /.well-known/jwks.json): what is proven to be stored.")


ANSWERS: Final[dict[int | str, dict[str, Any]]] = described(
    {
        400: "The body is not JSON, or not of the kind that its media type or coding says.",
        401: "The signature is missing or wrong, its timestamp stale, or the sender unknown: the same words for all.",
        403: "No event is the sender's to send (its own source, its own items): see `results`. Nothing is parked.",
        408: "The body did not come within 30 s. Nothing is parked.",
        413: "Over 1,000 events or 5 MiB, after inflation too: split the batch.",
        415: "Neither a CloudEvent nor a batch of them, not in UTF-8, or of another coding than gzip.",
        422: "No event is valid (see `results`), or the batch is empty. Nothing is parked.",
        429: "Too fast: send the same events again after `Retry-After` seconds. Nothing is parked.",
        503: "Not known to be stored: send the same events again, after `Retry-After` seconds.",
    },
    results=True,
)
ANSWERS[202] = {"model": Answer, "description": "At least one event is stored; the rejected are parked: see `results` for each."}

_EVENT: Final[dict[str, Any]] = {
    **inlined(PushedCaseEvent),
    "example": {
        "specversion": "1.0",
        "id": "e-1",
        "source": "urn:onething:province:hebei",
        "type": case.TYPE,
        "subject": "13060720240930-1",
        "time": "2024-09-30T09:00:01+08:00",
        "data": {
            "case_no": "13060720240930-1",
            "item": "disabled-service",
            "county": "130607",
            "step": "applied",
            "occurred_at": "2024-09-30T09:00:00+08:00",
            "channel": "window",
        },
    },
}

_ROWS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["table", "rows"],
    "description": "Rows of the sender's dialect, where one is set for it (docs/dialects.md); one result a row.",
    "properties": {
        "table": {"type": "string", "examples": ["up_pro_accept"]},
        "rows": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": MOST_EVENTS},
    },
    "example": {"table": "up_pro_result", "rows": [{"row_guid": "r-1", "project_no": "BD1", "result_type": "10",
        "result_date": "2024-10-08 15:00:00", "cd_operation": "I", "cd_time": "2024-10-08 16:00:00"}]},
}  # fmt: skip

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            MEDIA_TYPE: {"schema": _EVENT},
            JSON_MEDIA_TYPE: {
                "schema": {
                    **_EVENT["properties"]["data"],
                    "description": "Binary mode: `data`, with the attributes as `ce-` headers.",
                },
                "example": _EVENT["example"]["data"],
            },
            BATCH_MEDIA_TYPE: {"schema": {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": MOST_EVENTS}},
            rows.MEDIA_TYPE: {"schema": _ROWS},
        },
    },
    "parameters": [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": description}
        for name, description in {
            "webhook-id": "The request's id; the same when it is sent again.",
            "webhook-timestamp": "Seconds since the epoch, within 300 s of our clock.",
            "webhook-signature": "`v1,` and the base64 of HMAC-SHA256 (or `v1sm3,` and that of HMAC-SM3) over `id.timestamp.body`,"
            " the body as it is sent; several, separated by spaces.",
        }.items()
    ],
}


PATH: Final = "/v1/senders/{sender_id}/events"


def _unpacked(content: object) -> list[Any]:
    items = rows.rows_of(content)
    if items is None:
        raise ProblemError(400, "malformed", f'{rows.MEDIA_TYPE} holds {{"table": "…", "rows": […]}}')
    return items


_ROWS_TOO: Final[Mapping[str, Unpack]] = {rows.MEDIA_TYPE: _unpacked}
_EVENTS_ALONE: Final[Mapping[str, Unpack]] = {}


def routes(
    senders: Callable[[], Mapping[str, Sender]], publisher: Callable[[], Publisher], topics: Topics, edge: Edge
) -> APIRouter:
    """The pushing routes; ``senders`` gives those of now, ``publisher`` the one that stands while the process runs."""
    router = APIRouter(tags=["push"])

    @router.post(PATH, status_code=202, responses=ANSWERS, openapi_extra=_BODY)
    async def push_events(sender_id: str, request: Request) -> Response:
        """Takes one CloudEvent or a batch, signed; 202 with a receipt once Kafka has stored what is accepted."""
        sender = senders().get(sender_id)
        further = _ROWS_TOO if sender and sender.dialect else _EVENTS_ALONE
        async with edge.received(request, sender_id, sender.party if sender else None, further) as push:
            now = edge.clock()
            return await settle(
                push, lambda item: rows.judge_item(item, sender, now), publisher(), edge, sender=sender_id,
                topic=topics.case_events, parked_topic=topics.parked, shown_fields=SHOWN_FIELDS,
                sandbox=sender is not None and sender.sandbox,
            )  # fmt: skip

    @router.options(PATH, status_code=200, response_class=Response, responses=HANDSHAKE)
    async def webhook_handshake(sender_id: str, request: Request) -> Response:
        """The handshake of the CloudEvents webhook specification; the same for every sender, known or not."""
        return handshake(request)

    return router
