"""Sheets over HTTP (CONTRACT §2): the template, and a company's sheet taken whole or answered with each wrong cell.

What is said of a sheet is in Chinese: the people who fill it in read it.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from services.utilities.domain.sheets.archive import SheetRefused
from services.utilities.domain.sheets.checking import Issue
from services.utilities.domain.sheets.layout import MEDIA_TYPE
from services.utilities.domain.sheets.template import template
from services.utilities.handlers.registry import CurrentRegistry, RegistryUnknown
from services.utilities.handlers.sheets import Outcome, mark_sheet, take_sheet
from shared.kafka import KafkaUnavailable, MessagesTooLarge, Publisher, Topics
from shared.postgres import Pool, Unavailable
from shared.problems import ProblemError, described
from shared.push import EVENTS, Edge
from shared.signing import Party

MOST_TOLD: Final = 1_000
"""Errors in one answer; the marked copy has them all."""

RETRY_SECONDS: Final = 5

MESSAGE_TOO_LARGE: Final = "message-too-large"
"""The topic's ``max.message.bytes`` is too low: the operator's to mend, not the sheet's."""

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = described(
    {
        400: "No XLSX that can be read: broken, with macros, or another kind of file.",
        401: "The signature is missing or wrong, its timestamp stale, or the company unknown.",
        413: "Over 5 MiB, 10,000 rows, or too much once unpacked.",
        429: "Too fast, by the rows of the sheets before: send the same sheet again after `Retry-After` seconds.",
        415: "The media type is not that of XLSX.",
        422: "Rows are wrong; `errors` names each cell. With `return=sheet` or `Accept` the sheet itself, marked.",
        503: "Not known to be stored: send the same sheet again.",
    },
)
PROBLEMS[422]["content"] = {**PROBLEMS[422]["content"], MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}

BODY: Final = {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}}

AWAY: Final[tuple[type[Exception], ...]] = (KafkaUnavailable, *Unavailable)

STATUS: Final[Mapping[str, int]] = {"too-large": 413, "too-many-rows": 413}


@cache
def empty_template() -> bytes:
    """The template, made once."""
    return template()


def attachment(content: bytes, name: str, status: int = 200) -> Response:
    """An XLSX to save under ``name``, which is ASCII."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return Response(content, status, headers, MEDIA_TYPE)


def routes(
    companies: Callable[[], Mapping[str, Party]],
    publisher: Callable[[], Publisher],
    pool: Callable[[], Pool],
    registry: Callable[[], CurrentRegistry],
    topics: Topics,
    edge: Edge,
) -> APIRouter:
    """The routes of sheets; the callables give what stands while the process runs."""
    router = APIRouter(tags=["sheets"])

    @router.get(
        "/v1/sheets/template.xlsx", response_class=Response,
        responses={200: {"description": "The template.", "content": {MEDIA_TYPE: {}}}},
    )  # fmt: skip
    async def get_template() -> Response:
        """The sheet to fill in, with drop-downs and a page that explains it."""
        return attachment(empty_template(), "onething-sheet.xlsx")

    @router.post("/v1/companies/{company}/sheets", status_code=202, responses=PROBLEMS, openapi_extra=BODY)
    async def push_sheet(
        company: str,
        request: Request,
        partial: Annotated[bool, Query(description="Take the valid rows even where others are wrong.")] = False,
        answer: Annotated[str | None, Query(alias="return", description="`sheet`: errors as the sheet itself, marked.")] = None,
    ) -> Response:
        """Takes a sheet (XLSX), signed like a push; 202 once Kafka has stored one event a row."""
        async with edge.body(request) as body:
            party = companies().get(company)
            edge.authenticate(request, company, party, body)
            edge.admit(company, party)
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
                raise ProblemError(415, "media-type", f"请以 {MEDIA_TYPE} 报送 .xlsx 文件")
            try:
                outcome = await take(publisher(), pool(), registry(), topics, edge, company, body, partial=partial)
            except SheetRefused as error:
                raise ProblemError(STATUS.get(error.reason, 400), error.reason, str(error)) from None
            edge.charge(company, party, outcome.draft.rows - outcome.draft.reported)
            if outcome.taken:
                digest = hashlib.sha256(body).hexdigest()
                receipt = edge.receipts.sign(
                    service=edge.service, sender=company, at=edge.clock(), digest=digest, events=outcome.event_ids,
                    request_id=request.headers.get("webhook-id") or digest[:32],
                )  # fmt: skip
                counts = {"accepted": outcome.taken, "repeated": outcome.repeated}
                return JSONResponse({**counts, **told(outcome), "receipt": receipt}, 202)
            if answer == "sheet" or MEDIA_TYPE in request.headers.get("accept", ""):
                return attachment(await mark_sheet(outcome), "onething-sheet-marked.xlsx", 422)
            raise refused(outcome)

    return router


async def take(
    publisher: Publisher,
    pool: Pool,
    registry: CurrentRegistry,
    topics: Topics,
    edge: Edge,
    company: str,
    content: bytes,
    *,
    partial: bool,
) -> Outcome:
    """Takes the sheet of a company that is proven, by signature or session.

    Raises:
        SheetRefused: the file cannot be taken as a whole.
        ProblemError: 503, not known to be stored, or not judged.
    """
    try:
        outcome = await take_sheet(
            pool, publisher, topics.utility_events, company, content, await registry.get(), edge.clock(), partial=partial
        )
    except RegistryUnknown as error:
        raise ProblemError(503, "registry-unknown", f"not judged, not stored: {error}", retry_after=RETRY_SECONDS) from error
    except MessagesTooLarge:
        raise ProblemError(
            413, MESSAGE_TOO_LARGE, "有的行超过了系统能存的大小,没有全部收下:请告诉审批局,调大后再把同一份表报一次"
        ) from None
    except AWAY:
        EVENTS.labels(edge.service, "unavailable").inc()
        raise ProblemError(
            503,
            "not-known-to-be-stored",
            "暂时无法确认已收下:请稍后把同一份表再报一次,重复报送不会重复计算",
            retry_after=RETRY_SECONDS,
        ) from None
    EVENTS.labels(edge.service, "accepted").inc(outcome.taken)
    EVENTS.labels(edge.service, "rejected").inc(outcome.wrong_rows)
    return outcome


def refused(outcome: Outcome) -> ProblemError:
    """422 with each wrong cell; nothing was taken."""
    if not outcome.issues:
        detail = "表里没有要报的行" + (f"({outcome.draft.reported}行是“已报”的)" if outcome.draft.reported else "")
        return ProblemError(422, "empty", f"{detail}:请填写后再报送", extra=told(outcome))
    reasons = {issue.reason for issue in outcome.issues}
    return ProblemError(
        422, reasons.pop() if len(reasons) == 1 else "invalid",
        f"{outcome.wrong_rows}行有问题,整份都没有收:请按 errors 逐行改好后再报送,或加 ?partial=true 先收没有问题的行",
        extra=told(outcome),
    )  # fmt: skip


def told(outcome: Outcome) -> dict[str, object]:
    """What an answer says of a sheet beside how much was taken."""
    return {
        "rows": outcome.draft.rows,
        "rejected": outcome.wrong_rows,
        "reported": outcome.draft.reported,
        "errors": [shown(issue) for issue in outcome.issues[:MOST_TOLD]],
        "more_errors": max(0, len(outcome.issues) - MOST_TOLD),
        "notes": [shown(issue) for issue in outcome.notes[:MOST_TOLD]],
        "unread": outcome.draft.unread,
    }


def shown(issue: Issue) -> dict[str, object]:
    """One error; ``pointer`` is of the sheet: page and cell."""
    place = "/".join(str(part) for part in (issue.page, issue.cell or issue.row) if part is not None)
    return {
        "pointer": f"/{place}", "sheet": issue.page, "row": issue.row, "column": issue.column, "cell": issue.cell,
        "reason": issue.reason, "message": issue.message,
    }  # fmt: skip
