"""Notices: read in four forms, freeze (CONTRACT §4 and §5)."""

import asyncio
import re
from datetime import date
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Response

from services.metrics.documents import docx, xlsx
from services.metrics.domain.figures import LowOp, Ties
from services.metrics.domain.notice import last_day, markdown
from services.metrics.handlers import notices
from services.metrics.http.access import PROBLEMS, Asking, Db, Granted, Today, Writing, answer, known_item, operator, reader, wrong
from shared.clock import business_day
from shared.counties import ROSTER
from shared.problems import ProblemError

Format = Literal["json", "md", "docx", "xlsx"]
RequiredItem = Annotated[str, Query(description="Code of a one-thing item.", examples=["disabled-service"])]
Low = Annotated[int | None, Query(ge=0, le=1_000_000, description="What counts as low; 10 without it.")]
LowOps = Annotated[LowOp | None, Query(description="`lt`: fewer than `low` (as without it); `le`: that many or fewer.")]
Top = Annotated[int | None, Query(ge=1, le=len(ROSTER), description="Up to which rank leading units are named; 5 without it.")]
TieRule = Annotated[Ties | None, Query(description="Ranks after a tie: `skip` 1, 1, 3 (as without it); `dense` 1, 1, 2.")]
By = Annotated[str, Query(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$", description="Who freezes, for the audit.")]

_MONTH: Final = re.compile("[0-9]{4}-[0-9]{2}")

MEDIA_TYPES: Final = {
    "md": "text/markdown; charset=utf-8",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"description": "The month is frozen, and not as asked.", "content": {"application/problem+json": {}}}
}
FORMS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {}, **{kind.partition(";")[0]: {} for kind in MEDIA_TYPES.values()}}}
}
FROZEN: dict[int | str, dict[str, Any]] = {
    200: {"description": "It was frozen before, with these very figures.", "content": {"application/json": {}}},
    201: {"description": "It is frozen now.", "content": {"application/json": {}}},
    403: {"description": "The token is not the operator's.", "content": {"application/problem+json": {}}},
}


async def _asked(low: Low = None, low_op: LowOps = None, top: Top = None, ties: TieRule = None) -> dict[str, Any]:
    given = {"low": low, "low_op": low_op, "top": top, "ties": ties}
    return {name: value for name, value in given.items() if value is not None}


Asked = Annotated[dict[str, Any], Depends(_asked)]

router = APIRouter(prefix="/v1/notices", dependencies=[Depends(reader)], responses=PROBLEMS, tags=["notices"])


@router.get("")
async def listed(db: Db) -> dict[str, Any]:
    """Every frozen notice: month, item, hash, when and by whom. The newest month comes first."""
    return await notices.listed(db)


@router.get("/{month}", response_class=Response, responses=CONFLICT | FORMS)
async def read(
    access: Granted,
    asker: Asking,
    today: Today,
    month: str,
    item: RequiredItem,
    asked: Asked,
    format: Format = "json",
    live: Annotated[bool, Query(description="Present figures, even where the month is frozen.")] = False,
) -> Response:
    """The notice of a month (`YYYY-MM`). Where it is frozen: as it was then, with its hash, and a restatement beside it when
    present knowledge differs. A county's own token is given what was frozen, and nothing else."""
    _check_month(month, today)
    known = known_item(item)
    try:
        # Given back before the document is made, which takes a moment.
        async with access.pool().acquire() as db:
            content: dict[str, Any] | None
            if asker.own is None:
                content = await notices.read(db, month, known, today, asked, live=live)
            else:
                content = await notices.issued(db, month, known, asked)
    except notices.FrozenOtherwise as error:
        raise ProblemError(
            409, "frozen-otherwise", "the month is frozen with the parameters given here: leave yours out, or add live=true",
            extra={"frozen": error.frozen, "parameters": error.parameters},
        ) from None  # fmt: skip
    if content is None:
        raise ProblemError(
            403, "not-issued", "this notice is not issued (frozen) yet: until then it is the city's; /v1/counts has your county's"
            " figures", extra={"scope": asker.scope, "needs": ["reader", "operator"]},
        )  # fmt: skip
    if format == "json":
        return answer(content)
    if format == "md":
        return Response(markdown(content), media_type=MEDIA_TYPES[format])
    # Beside the event loop: it takes a moment.
    body = await asyncio.to_thread(docx.render if format == "docx" else xlsx.render, content)
    name = quote(f"{content['title']}.{format}")
    disposition = f"attachment; filename=\"notice-{month}-{content['item']}.{format}\"; filename*=UTF-8''{name}"
    return Response(body, media_type=MEDIA_TYPES[format], headers={"Content-Disposition": disposition})


@router.post("/{month}", response_class=Response, dependencies=[Depends(operator)], responses=CONFLICT | FROZEN)
async def freeze(db: Writing, access: Granted, month: str, item: RequiredItem, asked: Asked, by: By = "operator") -> Response:
    """Freezes the notice of a month that has ended. Again with the same figures and parameters it changes nothing."""
    now = access.clock()
    known = known_item(item)
    _check_month(month, business_day(now))
    first = notices.may_be_frozen_on(month)
    if business_day(now) < first:
        raise wrong("month", f"this month has not ended: freeze it from {first} on", where="path")
    try:
        content, made = await notices.freeze(db, month, known, now, asked, role="operator", who=by)
    except notices.FrozenOtherwise as error:
        raise ProblemError(
            409, "already-frozen",
            "the month is frozen, with other parameters or other figures (given here); a frozen notice stays, and reading it shows"
            " what has changed since as its restatement",
            extra={"frozen": error.frozen, "parameters": error.parameters, "restatement": error.restated},
        ) from None  # fmt: skip
    made_answer = answer(content)
    made_answer.status_code = 201 if made else 200
    return made_answer


def _check_month(month: str, today: date) -> None:
    try:
        # Far from the calendar's first day, which has no month before it.
        begun = bool(_MONTH.fullmatch(month)) and month >= "1900" and last_day(month).replace(day=1) <= today
    except ValueError:
        begun = False
    if not begun:
        raise wrong("month", "not a month that has begun, as YYYY-MM", where="path")
