"""``/v1/parked``: the operator lists, shows, corrects and replays what could not be used."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.intake.domain.mending import recorded_at
from services.intake.handlers.mending import REPLAYED, AlreadyReplayed, Mender, NoneSuch, Outcome
from services.intake.http.access import Index, Who, described
from services.intake.http.what_if import WhatIf
from services.intake.store import parked as store
from services.intake.store.parked import Filter, Kept, State
from shared.clock import rfc3339
from shared.kafka import KafkaUnavailable, MessagesTooLarge
from shared.problems import ProblemError, problem
from shared.verdicts import TOO_LARGE, FieldError, Refusal

MOST_BYTES: Final = 1024 * 1024
MOST_AT_ONCE: Final = 500
REPLAY_SECONDS: Final = 15.0
_ID: Final = r"^[0-9a-f]{32}$"
_FIRST_YEAR: Final = 2000

Since = Annotated[datetime | None, Query(description="Parked no earlier than this time, RFC 3339 with offset.")]
Wanted = Annotated[
    State | Literal["todo"] | None, Query(description="`todo`: open and fixed; `resent`: its sender sent it again, rightly.")
]
Named = Annotated[str | None, Query(pattern=r"^[ -~]{1,128}$")]
DryRun = Annotated[bool, Query(description="Tell what a replay would change, and change nothing.")]
ParkedId = Annotated[str, Path(pattern=_ID)]


class Chosen(BaseModel):
    """Which parked records to replay."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Annotated[str, Field(pattern=_ID)]] = Field(min_length=1, max_length=MOST_AT_ONCE)


def routes(index: Index, mender: Mender, what_if: Callable[[], WhatIf]) -> APIRouter:
    """The operator's routes."""
    router = APIRouter(
        prefix="/v1/parked", tags=["parked"], dependencies=[Depends(index.operator)], responses=described(401, 422, 503)
    )

    @router.get("")
    async def list_parked(
        service: Named = None,
        reason: Named = None,
        sender: Named = None,
        since: Since = None,
        state: Wanted = None,
        begins: Annotated[str | None, Query(pattern=r"^[0-9a-f]{1,32}$", description="What its id begins with.")] = None,
        after: Annotated[int | None, Query(ge=0, lt=2**63, description="`next` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """Parked records, the newest first; `next` is null on the last page; the first page has how many there are, `count`."""
        if since is not None and (since.tzinfo is None or not _FIRST_YEAR <= since.year < 9999):
            raise _wrong("/query/since", "a time of our century with its offset, e.g. 2024-09-30T09:00:00+08:00")
        wanted = Filter(service, reason, sender, since, state, begins)
        async with index.connection() as db:
            rows = await store.listed(db, wanted, after=after, most=limit + 1)
            count = await store.count(db, wanted) if after is None else None
        page = rows[:limit]
        answer = {"parked": [_row(kept) for kept in page], "next": page[-1].seq if len(rows) > limit else None}
        return _json(answer if count is None else {"count": count, **answer})

    @router.get("/{parked_id}", responses=described(404))
    async def show_parked(parked_id: ParkedId) -> Response:
        """One parked record, what a correction made of it, and what was done by whom."""
        async with index.connection() as db:
            kept = await store.get(db, parked_id)
            done = await store.audited(db, parked_id)
        if kept is None:
            raise _none()
        return _json({**_row(kept), "payload": kept.record.payload, "events": kept.events, "audit": done})

    @router.post("/{parked_id}/fix", responses=described(400, 404, 409, 413), openapi_extra=_BODY)
    async def fix_parked(parked_id: ParkedId, request: Request, who: Who) -> Response:
        """Keeps a corrected event (or row, or list of events), judged as at the edge; people's data is dropped, its id stays."""
        given = await _body(request)
        async with index.connection() as db:
            try:
                events = await mender.fix(db, parked_id, given, who)
            except NoneSuch:
                raise _none() from None
            except AlreadyReplayed:
                raise ProblemError(409, "already-replayed", "it was replayed: its sender corrects it by a new event") from None
            except Refusal as refusal:
                detail = "mend the places named in errors"
                raise ProblemError(422, refusal.reason, detail, errors=refusal.errors) from None
        return _json({"id": parked_id, "state": "fixed", "events": events})

    async def replay(ids: list[str], dry_run: bool, who: str) -> Response:
        async with index.connection(REPLAY_SECONDS) as db:
            if dry_run:
                outcomes = await mender.rehearse(db, ids)
            else:
                try:
                    outcomes = await mender.replay(db, ids, who)
                except KafkaUnavailable:
                    detail = "Kafka did not confirm in time, and nothing is marked: replay again; twice never counts twice"
                    raise ProblemError(503, "not-known-to-be-stored", detail, retry_after=5) from None
                except MessagesTooLarge as error:
                    detail = f"{error}, and nothing is marked: replay the others without them, or raise max.message.bytes"
                    raise ProblemError(413, TOO_LARGE, detail) from None
        answer: dict[str, Any] = {
            "dry_run": dry_run,
            "replayed": sum(outcome.status == REPLAYED for outcome in outcomes),
            "refused": sum(outcome.status == "refused" for outcome in outcomes),
            "results": [_result(outcome, dry_run) for outcome in outcomes],
        }
        if dry_run:
            answer["deltas"] = await what_if().deltas([value for outcome in outcomes for value in outcome.values])
        return _json(answer)

    @router.post(
        "/replay",
        responses=described(400, 413),
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": Chosen.model_json_schema()}}}},
    )
    async def replay_many(request: Request, who: Who, dry_run: DryRun = False) -> Response:
        """Replays up to 500 records, a case's events in their order; each answered for. Twice changes nothing."""
        try:
            chosen = Chosen.model_validate(await _body(request))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            errors = [FieldError(pointer="/" + "/".join(map(str, e["loc"])), message=e["msg"]) for e in found]
            raise ProblemError(422, "invalid-request", "mend the places named in errors", errors=errors) from None
        return await replay(chosen.ids, dry_run, who)

    @router.post("/{parked_id}/replay", responses=described(404, 413))
    async def replay_one(parked_id: ParkedId, who: Who, dry_run: DryRun = False) -> Response:
        """Replays one record; a second time changes nothing."""
        return await replay([parked_id], dry_run, who)

    return router


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}}
        },
    }
}


async def _body(request: Request) -> Any:
    """The body's JSON value.

    Raises:
        ProblemError: 400, 413.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise ProblemError(413, "too-large", f"send at most {MOST_BYTES} bytes")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        detail = f"the body is not JSON in UTF-8: see line {error.lineno}, column {error.colno}"
        raise ProblemError(400, "malformed", detail) from None


def _row(kept: Kept) -> dict[str, Any]:
    record = kept.record
    return {
        "id": record.id, "state": kept.state, "service": record.service, "reason": record.reason, "errors": record.errors,
        "sender": record.sender, "event_id": record.event_id, "case_no": record.case_no, "origin": record.origin,
        "recorded_at": recorded_at(kept.events[0] if kept.events else record.payload or {}),
        "parked_at": rfc3339(record.parked_at), "replayed_at": rfc3339(kept.replayed_at) if kept.replayed_at else None,
        "length": record.length, "digest": record.digest, "seq": kept.seq,
    }  # fmt: skip


def _result(outcome: Outcome, dry_run: bool) -> dict[str, Any]:
    status = "would-replay" if dry_run and outcome.status == REPLAYED else outcome.status
    result: dict[str, Any] = {"id": outcome.id, "status": status}
    if outcome.rejected is not None:
        detail = "mend the places named in errors by a correction (fix), then replay"
        body = problem(outcome.rejected.reason, "Not replayed", detail, outcome.rejected.errors)
        result["problem"] = body.model_dump(exclude_none=True)
    return result


def _none() -> ProblemError:
    return ProblemError(404, "not-found", "no parked record has this id; the index may be a moment behind")


def _wrong(pointer: str, message: str) -> ProblemError:
    return ProblemError(
        422, "invalid-request", "mend the parameters named in errors", errors=[FieldError(pointer=pointer, message=message)]
    )


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content, option=orjson.OPT_UTC_Z), media_type="application/json")
