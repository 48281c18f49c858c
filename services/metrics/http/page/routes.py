"""The page's routes. Each is the session's, asks the handlers that the api asks, and gives one page of HTML."""

import hashlib
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.metrics.domain.access import Sight, limited
from services.metrics.handlers import board, checking, explain, halls, installations
from services.metrics.handlers.board import Chosen
from services.metrics.http import paging
from services.metrics.http.access import Access, Granted, Today, rule_for
from services.metrics.http.page import choosing, login, oidc, words
from services.metrics.http.page.choosing import BadChoice
from services.metrics.http.page.rendering import HERE, chart, message, page, text
from services.metrics.store.explain import Place
from shared import counties
from shared.counties import County
from shared.postgres import Connection, Unavailable
from shared.problems import ProblemError

ROWS: Final = 100
"""Rows of one page of a list."""

router = APIRouter(include_in_schema=False)
router.include_router(login.router)
router.include_router(oidc.router)

Make = Callable[[Connection], Awaitable[str]]


async def answered(request: Request, access: Access, question: Hashable, make: Make) -> Response:
    """The page that stands for ``question``, or what ``make`` renders for the one who asks (:func:`own`); the login where nobody
    is logged in. What was made for one sight is never given to another."""

    async def body() -> bytes:
        async with access.pool().acquire() as db:
            return (await make(db)).encode()

    try:
        session = await access.identity.of_session(request.cookies, access.pool, access.clock())
        if session is None:
            return login.ask(request, access)
        rule = rule_for(request)
        if session.asker.own is not None and rule.county is Sight.NOTHING:
            return message("这一页供市级查看", "您的账号查看本县(市、区)的明细和全市的合计。", status=403)
        access.identity.admit(session.id, rule.cost)
        request.state.own = session.asker.own
        return page(await access.answers.get(("page", session.asker.own, question), body))
    except BadChoice as error:
        return message("请重新选择", str(error), status=422)
    except ProblemError as error:
        if error.status == 429:
            return login.too_fast(error)
        return message("请重新选择", "地址不完整,请从第一页重新翻起。", status=422)
    except Unavailable as error:
        return login.away(error)


def own(request: Request, chosen: str | None = None) -> str | None:
    """The one county that the page may show; else the one that the address chooses.

    Raises:
        BadChoice: the address chooses another one.
    """
    seen: str | None = request.state.own
    if seen is not None and chosen not in (None, seen):
        raise BadChoice("您的账号只能查看本县(市、区)的明细。")
    return seen or chosen


def roster(request: Request) -> list[County]:
    """The units that a form lets the one who asks choose from."""
    return [unit for unit in counties.ROSTER if own(request) in (None, unit.code)]


def _chosen(request: Request, today: Any) -> Chosen | Response:
    try:
        return choosing.chosen(request.query_params, today)
    except BadChoice as error:
        return message("请重新选择", str(error), status=422)


@router.get("/")
async def home(request: Request, access: Granted, today: Today) -> Response:
    """The whole picture of one item."""
    chosen = _chosen(request, today)
    if isinstance(chosen, Response):
        return chosen

    async def make(db: Connection) -> str:
        unit = own(request)
        standing = await board.standing(db, chosen)
        trend = await board.trend(db, chosen, unit)
        located = await halls.co_location(db, chosen.until)
        shown: dict[str, Any] = {
            "s": standing, "trend": trend, "chart": chart(trend, chosen.measure),
            "peers": await board.peers(db, chosen, standing.ranking),
            "changes": await board.changes(db, chosen, unit), "fresh": await board.freshness(db),
            "matrix": matrix(located["counties"]), "located": located,
            "installing": await board.installing(db, chosen.until, unit),
            "idle": await halls.idle_windows(db, chosen.until.replace(day=1), chosen.until),
        }  # fmt: skip
        seen = limited(shown, unit)
        return text("home.html", it=chosen, own=unit, **{**seen, "peers": [group for group in seen["peers"] if group.rows]})

    return await answered(request, access, ("home", chosen), make)


@router.get("/live")
async def live(request: Request, access: Granted, today: Today) -> Response:
    """The part of the first page that is kept live: totals and ranking."""
    chosen = _chosen(request, today)
    if isinstance(chosen, Response):
        return chosen

    async def make(db: Connection) -> str:
        unit = own(request)
        return text("live.html", it=chosen, own=unit, s=limited(await board.standing(db, chosen), unit))

    return await answered(request, access, ("live", chosen), make)


@router.get("/cases")
async def cases(request: Request, access: Granted, today: Today) -> Response:
    """The cases behind a number."""
    given = request.query_params
    chosen = _chosen(request, today)
    if isinstance(chosen, Response):
        return chosen

    async def make(db: Connection) -> str:
        since, county = choosing.day(given, "from"), own(request, choosing.unit(given))
        after = paging.read_dated(given.get("after"), 3)
        rows, place, count = await explain.cases(
            db, item=chosen.item.code, county=county, measure=chosen.measure, since=since, as_of=chosen.until,
            after=None if after is None else Place(after[0], *after[1]), limit=ROWS,
        )  # fmt: skip
        following = None if place is None else paging.cursor([place.day.isoformat(), place.case_no, place.source])
        return text("cases.html", it=chosen, county=county, since=since, rows=rows, count=count, following=following)

    return await answered(request, access, ("cases", chosen, str(given)), make)


@router.get("/cases/{source:path}/{case_no}")
async def case(request: Request, access: Granted, source: str, case_no: str) -> Response:
    """One case: each register with the event that set it."""

    async def make(db: Connection) -> str:
        found = None if "\0" in source + case_no else await explain.case(db, source, case_no)
        if found is None or own(request) not in (None, found["county"]):
            return text("message.html", title="没有这个办件", said=("尚未计入过这个来源和编号的办件,请核对。",))
        return text("case.html", case=found)

    return await answered(request, access, ("case", source, case_no), make)


@router.get("/halls/{code}")
async def hall(request: Request, access: Granted, today: Today, code: str) -> Response:
    """The companies of one unit: who stands in its hall, how, and since when."""

    async def make(db: Connection) -> str:
        if code not in counties.BY_CODE:
            raise BadChoice("名册中没有这个县(市、区)。")
        own(request, code)
        until = choosing.day(request.query_params) or today
        located = await halls.co_location(db, until)
        row = next(row for row in located["counties"] if row["county"] == code)
        return text("hall.html", row=row, until=until, as_of=request.query_params.get("as_of"))

    return await answered(request, access, ("hall", code, today, str(request.query_params)), make)


@router.get("/installations")
async def listed(request: Request, access: Granted, today: Today) -> Response:
    """The installations behind a number."""
    given = request.query_params

    async def make(db: Connection) -> str:
        until = choosing.day(given) or today
        county = own(request, choosing.unit(given))
        service = choosing.one_of(given, "service", words.SERVICES, "服务")
        state: Any = choosing.one_of(given, "state", LISTED, "状态") or "overdue"
        after = paging.read_dated(given.get("after"), 2)
        found = await installations.listed(
            db, state, as_of=until, county=county, service=service, company=None,
            after=None if after is None else installations.Key(after[0], after[1][0]), limit=ROWS,
        )  # fmt: skip
        following = None if found.next is None else paging.cursor([found.next.since.isoformat(), found.next.subject])
        chosen = {"as_of": given.get("as_of"), "county": county, "service": service, "state": state}
        return text(
            "installations.html", until=until, chosen=chosen, rows=found.rows, counts=found.counts, following=following,
            states=LISTED, services=words.SERVICES, roster=roster(request),
        )  # fmt: skip

    return await answered(request, access, ("installations", today, str(given)), make)


LISTED: Final = {
    code: words.STATES[code] for code in ("overdue", "due_soon", "in_progress", "connected", "cancelled", "opened", "unplaced")
}


@router.get("/check")
async def check(request: Request, access: Granted) -> Response:
    """A recount of every case against the counters, at this moment."""

    async def make(db: Connection) -> str:
        return text("check.html", found=await checking.consistency(db, item=None, county=None))

    return await answered(request, access, ("check",), make)


def matrix(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Units by service: in each cell a sign, a word, and a class for its colour; they say the same."""
    return [
        {**row, "cells": [_cell([c for c in row["companies"] if c["service"] == service]) for service in words.SERVICES]}
        for row in rows
    ]


def _cell(companies: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    whole, located = len(companies), sum(company["co_located"] for company in companies)
    if not whole:
        return "—", "无企业", "none"
    if located == whole:
        return "●", "已进驻" if whole == 1 else f"{located}/{whole}进驻", "good"
    if located:
        return "◐", f"{located}/{whole}进驻", "soon"
    if any(company["level"] != "none" for company in companies):
        return "◔", "未办全", "soon"
    return "○", "未进驻", "bad"


_STATIC: Final = {
    name: ((HERE / "static" / name).read_bytes(), media_type)
    for name, media_type in (
        ("page.css", "text/css; charset=utf-8"), ("page.js", "text/javascript; charset=utf-8"), ("icon.svg", "image/svg+xml"),
    )
}  # fmt: skip


@router.get("/static/{name}")
async def static(name: str, request: Request) -> Response:
    """What the pages load: small, ours, and open to everybody."""
    if name not in _STATIC:
        return Response(status_code=404)
    content, media_type = _STATIC[name]
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"Cache-Control": "no-cache", "ETag": tag, "X-Content-Type-Options": "nosniff"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, 200, headers, media_type)


@router.get("/favicon.ico")
async def icon() -> Response:
    """Browsers ask for it even where the page names another."""
    return Response(_STATIC["icon.svg"][0], 200, {"Cache-Control": "max-age=86400"}, "image/svg+xml")
