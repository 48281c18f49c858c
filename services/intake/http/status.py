"""``GET /v1/senders/{sender}/events/{id}``: the sender asks what became of an event."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from services.intake.domain import Sender
from services.intake.handlers.status import Status, status
from services.intake.http.access import Index, described
from shared import people
from shared.clock import rfc3339
from shared.events.envelope import EVENT_ID
from shared.kafka import Topics
from shared.problems import ProblemError
from shared.push import Edge
from shared.verdicts import FieldError

_event_id: Final = re.compile(EVENT_ID).fullmatch


class Where(BaseModel):
    """The event's place in the log."""

    topic: str
    partition: int
    offset: int
    time: datetime


class Why(BaseModel):
    """Why the event is parked; ``id`` names the record to the operator, ``fixed`` says that it waits for its replay."""

    id: str
    reason: str
    errors: list[FieldError]
    time: datetime
    fixed: bool


class Answer(BaseModel):
    """``unknown`` may be trusted of events that were answered before ``indexed_to``. ``id`` is null where it may be somebody's."""

    id: str | None
    status: Literal["stored", "parked", "unknown"]
    indexed_to: datetime | None
    stored: Where | None = None
    parked: Why | None = None


_SIGNED: Final[dict[str, Any]] = {
    "parameters": [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": description}
        for name, description in {
            "webhook-id": "The request's id.",
            "webhook-timestamp": "Seconds since the epoch, within 300 s of our clock.",
            "webhook-signature": "As of a push, over the empty body: `id.timestamp.`",
        }.items()
    ]
}


def routes(senders: Callable[[], Mapping[str, Sender]], index: Index, topics: Topics, edge: Edge) -> APIRouter:
    """The route by which a sender asks about its own events."""
    router = APIRouter(tags=["push"])

    @router.get(
        "/v1/senders/{sender_id}/events/{event_id}",
        response_model=Answer,
        responses=described(401, 422, 503),
        openapi_extra=_SIGNED,
    )
    async def event_status(sender_id: str, event_id: str, request: Request) -> JSONResponse:
        """Whether the sender's event is stored (where), parked (why), or unknown; signed as a push, over the empty body."""
        sender = senders().get(sender_id)
        edge.authenticate(request, sender_id, sender.party if sender else None, b"")
        if sender is None or _event_id(event_id) is None:
            errors = [FieldError(pointer="/path/event_id", message=f"an event's id matches {EVENT_ID}")]
            raise ProblemError(422, "invalid-request", "mend the parameters named in errors", errors=errors)
        async with index.connection() as db:
            found = await status(db, sender, event_id)
        return JSONResponse(_answer(event_id, found, topics.case_events))

    return router


def _answer(event_id: str, found: Status, topic: str) -> dict[str, Any]:
    """The answer; an id that is not known and may be somebody's number is not repeated."""
    known = found.place is not None or found.parked is not None
    answer: dict[str, Any] = {
        "id": event_id if known or not people.is_somebodys(event_id) else None,
        "status": "parked" if found.parked else "stored" if found.place else "unknown",
        "indexed_to": rfc3339(found.indexed_to) if found.indexed_to else None,
    }
    if found.place:
        partition, offset, stored_at = found.place
        answer["stored"] = {"topic": topic, "partition": partition, "offset": offset, "time": rfc3339(stored_at)}
    if found.parked:
        record = found.parked.record
        answer["parked"] = {
            "id": record.id, "reason": record.reason, "errors": record.errors, "time": rfc3339(record.parked_at),
            "fixed": found.parked.state == "fixed",
        }  # fmt: skip
    return answer
