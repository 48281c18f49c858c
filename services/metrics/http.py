"""The reading side: CONTRACT §4's questions, each answered from the counters or the snapshots."""

import hmac
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query
from fastapi.responses import PlainTextResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.metrics import handlers
from services.metrics.domain import figures
from services.metrics.domain.cases import MEASURES
from services.metrics.domain.figures import Group, LowOp
from services.metrics.domain.notice import last_day, markdown
from shared import counties, items
from shared.clock import Clock, business_day
from shared.postgres import Connection, Pool
from shared.problems import ProblemError
from shared.verdicts import FieldError

Measure = Literal[
    "handled", "applied", "accepted", "completed", "completed_on_time", "not_accepted", "returned", "withdrawn", "online"
]
assert Measure.__args__ == MEASURES  # type: ignore[attr-defined]

bearer = HTTPBearer(auto_error=False, description="reader_token or operator_token of endpoints.json")

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "content": {"application/problem+json": {}}}
    for status, description in {
        401: "The token is missing or wrong.",
        422: "A parameter is wrong; `errors` points at it.",
    }.items()
}


def routes(pool: Callable[[], Pool], clock: Clock, tokens: tuple[str, ...]) -> APIRouter:
    """The reading routes. ``tokens`` are those that may read; empty ones open nothing."""

    async def reader(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        token = given.credentials.encode() if given else b""
        fits = False
        for known in tokens:
            fits |= bool(known) and hmac.compare_digest(token, known.encode())
        if not fits:
            raise ProblemError(401, "token", "send the reader's token: Authorization: Bearer …")

    async def connection() -> AsyncIterator[Connection]:
        async with pool().acquire() as db:
            yield db

    def today() -> date:
        return business_day(clock())

    Db = Annotated[Connection, Depends(connection)]
    AsOf = Annotated[date | None, Query(description="Business date in Asia/Shanghai, inclusive; today without it.")]
    Since = Annotated[date | None, Query(alias="from", description="First business date; without it from the beginning.")]
    ItemCode = Annotated[str | None, Query(description="Code of a one-thing item.", examples=["disabled-service"])]
    router = APIRouter(prefix="/v1", dependencies=[Depends(reader)], responses=PROBLEMS, tags=["figures"])

    @router.get("/counts")
    async def counts(
        db: Db, item: ItemCode = None, as_of: AsOf = None, since: Since = None, group_by: Group = "county"
    ) -> dict[str, Any]:
        """Every measure by county (every unit of the roster has a row), day, month or item. Without `item`: all items."""
        until = as_of or today()
        _check_range(since, until)
        code = _item(item).code if item else None
        return await handlers.counts(db, item=code, since=since, as_of=until, group_by=group_by)

    @router.get("/ranking")
    async def ranking(
        db: Db,
        item: Annotated[str, Query(examples=["disabled-service"])],
        measure: Measure = "handled",
        as_of: AsOf = None,
        since: Since = None,
        top: Annotated[int | None, Query(ge=1, le=1000, description="Only ranks up to this; all without it.")] = None,
        low: Annotated[int, Query(ge=0, le=1_000_000, description="What counts as low.")] = 10,
        low_op: LowOp = "lt",
    ) -> dict[str, Any]:
        """Units by one measure, with their share of the city, and the units that stand low or at zero."""
        until = as_of or today()
        _check_range(since, until)
        ranked = await handlers.ranking(db, item=_item(item), measure=measure, as_of=until, since=since, low=low, low_op=low_op)
        rows = [asdict(row) for row in figures.top(ranked, top)]
        return {
            "item": item, "measure": measure, "from": since, "as_of": until,
            "total": ranked.total, "rows": rows, "low": ranked.low, "zero": ranked.zero,
        }  # fmt: skip

    @router.get("/co-location")
    async def co_location(db: Db, as_of: AsOf = None) -> dict[str, Any]:
        """Which companies really handle their business in each county's hall."""
        return await handlers.co_location(db, as_of or today())

    @router.get("/notices/{month}", response_class=Response)
    async def notice(
        db: Db,
        month: str,
        item: Annotated[str, Query(examples=["disabled-service"])],
        format: Literal["json", "md"] = "json",
        low: Annotated[int, Query(ge=0, le=1_000_000)] = 10,
        low_op: LowOp = "lt",
    ) -> Any:
        """The notice of a month (`YYYY-MM`), by present knowledge."""
        _check_month(month, today())
        content = await handlers.notice(db, month=month, item=_item(item), low=low, low_op=low_op)
        if format == "md":
            return PlainTextResponse(markdown(content), media_type="text/markdown; charset=utf-8")
        return Response(orjson.dumps(content), media_type="application/json")

    @router.get("/consistency", tags=["operating"])
    async def consistency(
        db: Db, item: ItemCode = None, county: Annotated[str | None, Query(examples=["130607"])] = None
    ) -> dict[str, Any]:
        """A recount of the cases against the counters; `drift` is empty, or something is wrong with us."""
        if county is not None and county not in counties.BY_CODE:
            raise _wrong("county", f"no unit of the roster; allowed: {', '.join(counties.BY_CODE)}")
        return await handlers.consistency(db, item=_item(item).code if item else None, county=county)

    return router


def _wrong(parameter: str, message: str) -> ProblemError:
    return ProblemError(
        422,
        "invalid-request",
        "mend the parameters named in errors",
        errors=[FieldError(pointer=f"/query/{parameter}", message=message)],
    )


def _item(code: str) -> items.Item:
    try:
        return items.find(code)
    except items.UnknownItem as error:
        raise _wrong("item", str(error)) from None


def _check_range(since: date | None, as_of: date) -> None:
    if since is not None and since > as_of:
        raise _wrong("from", "later than as_of: swap them, or leave one out")


def _check_month(month: str, today: date) -> None:
    try:
        if len(month) != 7 or last_day(month).replace(day=1) > today:
            raise ValueError
    except ValueError:
        raise ProblemError(
            422,
            "invalid-request",
            "name a month that has begun as YYYY-MM",
            errors=[FieldError(pointer="/path/month", message="not a month that has begun, as YYYY-MM")],
        ) from None
