"""The companies' page: login by a one-time link, the company's own state, and its sheet up and down.

Rendered here, without scripts. The session is a cookie that no other site can make a browser send (SameSite=Strict);
forms carry a token of the session besides.
"""

import base64
import hashlib
import hmac
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from services.utilities.domain.sheets import layout
from services.utilities.domain.sheets.archive import SheetRefused
from services.utilities.handlers import page as handlers
from services.utilities.handlers.registry import CurrentRegistry
from services.utilities.handlers.sheets import Outcome, mark_sheet
from services.utilities.http.sheets import AWAY, MESSAGE_TOO_LARGE, attachment, empty_template, take
from shared import counties
from shared.clock import SHANGHAI, business_day
from shared.events.progress import ANOMALY_WORDS, AnomalyCode
from shared.events.utility import Level
from shared.kafka import Publisher, Topics
from shared.pages import HEADERS as COMMON
from shared.pages import is_own_form
from shared.postgres import Pool
from shared.problems import ProblemError
from shared.push import Edge

COOKIE: Final = "onething-company"
MOST_SHOWN: Final = 300
"""Rows of one list on a page; the sheet to go on with has all."""

HEADERS: Final = {
    **COMMON,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
}

TEMPLATES: Final = Path(__file__).parent / "templates"

WAITS: Final = {"company": "本企业", "authority": "审批部门", "applicant": "用户(已暂停)", "season": "供暖季"}

_pages = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
_pages.filters |= {
    "county": lambda code: counties.BY_CODE[code].name if code in counties.BY_CODE else code or "",
    "service": lambda code: layout.word_of(layout.SERVICES, code) if code else "",
    "step": lambda code: layout.word_of(layout.STEPS, code) if code else "—",
    "level": lambda code: layout.word_of(layout.LEVELS, code),
    "handles": lambda codes: layout.word_of(layout.HANDLES, tuple(codes)),
    "customer": lambda code: layout.word_of(layout.CUSTOMER_KINDS, code) if code else "",
    "waits": lambda code: WAITS.get(code, ""),
    "anomaly": lambda code: ANOMALY_WORDS[AnomalyCode(code)],
    "day": lambda moment: business_day(moment).isoformat(),
}


def render(name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of ours with the headers that all have."""
    return HTMLResponse(_pages.get_template(name).render(**values), status, HEADERS)


def message(title: str, words: Sequence[str], status: int = 200) -> HTMLResponse:
    """A page that only says something."""
    return render("message.html", status, title=title, words=words)


def go(path: str) -> RedirectResponse:
    """On to another page, by GET."""
    return RedirectResponse(path, 303, HEADERS)


def form_token(session: str) -> str:
    """What a form of this session carries: nobody who does not read our pages knows it."""
    return hashlib.sha256(f"form of {session}".encode()).hexdigest()


def routes(
    publisher: Callable[[], Publisher],
    pool: Callable[[], Pool],
    registry: Callable[[], CurrentRegistry],
    topics: Topics,
    edge: Edge,
    *,
    secure: bool,
) -> APIRouter:
    """The page's routes. ``secure``: it is reached by HTTPS, so the cookie is never to go otherwise."""
    router = APIRouter(include_in_schema=False)
    style = (TEMPLATES / "style.css").read_bytes()
    clock = edge.clock

    async def company_of(request: Request) -> str | None:
        session = request.cookies.get(COOKIE)
        return await handlers.company_of(pool(), session, clock()) if session else None

    async def form(request: Request) -> tuple[str, dict[str, Any]] | None:
        """The company and the fields of a form that is its own; ``None`` where it is not or nobody is logged in."""
        company = await company_of(request)
        session = request.cookies.get(COOKIE, "")
        if company is None or not is_own_form(request):
            return None  # before a byte of the body is read
        fields = await read_form(edge, request)
        given = str(fields.get("form", ""))
        return (company, fields) if hmac.compare_digest(given.encode(), form_token(session).encode()) else None

    @router.get("/style.css")
    async def get_style() -> Response:
        headers = {"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(style, 200, headers, "text/css; charset=utf-8")

    @router.get("/favicon.ico")
    async def get_icon() -> Response:
        return Response(status_code=204, headers={"Cache-Control": "max-age=86400"})

    @router.get("/")
    async def get_home(request: Request) -> Response:
        try:
            company = await company_of(request)
            if company is None:
                return render("login.html", token=None)
            shown = await handlers.overview(pool(), company, clock())
        except AWAY:
            return away()
        token = form_token(request.cookies[COOKIE])
        return render("home.html", it=shown, form=token, most=MOST_SHOWN, most_rows=layout.MOST_ROWS, Level=Level)

    @router.get("/login")
    async def get_login(token: str = "") -> Response:
        try:
            stands = await handlers.link_stands(pool(), token, clock())
        except AWAY:
            return away()
        if not stands:
            return message("链接已失效", ["每个登录链接只能用一次,且有时限。", "请向审批局要一个新的链接。"], 403)
        return render("login.html", token=token)

    @router.post("/login")
    async def post_login(request: Request) -> Response:
        if not is_own_form(request):
            return foreign()
        try:
            fields = await read_form(edge, request)
            session = await handlers.log_in(pool(), str(fields.get("token", "")), clock())
        except ProblemError as error:
            return message("无法登录", [str(error)], error.status)
        except AWAY:
            return away()
        if session is None:
            return message("链接已失效", ["每个登录链接只能用一次,且有时限。", "请向审批局要一个新的链接。"], 403)
        response = go("/")
        response.set_cookie(
            COOKIE, session, max_age=handlers.SESSION_HOURS * 3600, path="/", secure=secure, httponly=True, samesite="strict"
        )
        return response

    @router.post("/logout")
    async def post_logout(request: Request) -> Response:
        try:
            if await form(request) is None:
                return foreign()
            await handlers.log_out(pool(), request.cookies[COOKIE])
        except AWAY:
            return away()
        response = message("已退出", ["下次登录请向审批局要一个新的链接。"])
        response.delete_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="strict")
        return response

    @router.get("/template.xlsx")
    async def get_template() -> Response:
        return attachment(empty_template(), "onething-sheet.xlsx")

    @router.get("/continue.xlsx")
    async def get_continued(request: Request) -> Response:
        try:
            company = await company_of(request)
            if company is None:
                return go("/")
            content = await handlers.continued(pool(), company, clock())
        except AWAY:
            return away()
        response = attachment(content, f"onething-{company}-{clock().astimezone(SHANGHAI):%Y%m%d}.xlsx")
        response.headers["Cache-Control"] = "no-store"
        return response

    @router.post("/sheet")
    async def post_sheet(request: Request) -> Response:
        try:
            own = await form(request)
            if own is None:
                return foreign()
            company, fields = own
            file = fields.get("sheet")
            content = await file.read() if isinstance(file, UploadFile) else b""
            if not content:
                return message("没有选文件", ["请先选择填好的 .xlsx 文件,再点“报送”。"], 400)
            partial = fields.get("partial") == "yes"
            outcome = await take(publisher(), pool(), registry(), topics, edge, company, content, partial=partial)
            marked = await mark_sheet(outcome) if outcome.issues else None
        except SheetRefused as error:
            return message("这个文件不能收", [str(error)], 400)
        except ProblemError as error:
            return message("没有收下", [in_chinese(error)], error.status)
        except AWAY:
            return away()
        return answered(outcome, marked)

    return router


def answered(outcome: Outcome, marked: bytes | None) -> HTMLResponse:
    """What became of an uploaded sheet, with the marked copy inside the page itself: nothing of it is kept here."""
    address = f"data:{layout.MEDIA_TYPE};base64,{base64.b64encode(marked).decode()}" if marked is not None else None
    status = 200 if outcome.taken else 422
    return render("answer.html", status, it=outcome, marked=address, most=MOST_SHOWN)


def foreign() -> HTMLResponse:
    """The form is not of a page of ours, or its session has ended."""
    return message("请重新登录", ["登录已到时,或页面已过期。请回到首页;如已退出,请向审批局要一个新的链接。"], 403)


def away() -> HTMLResponse:
    """The database or Kafka does not answer."""
    response = message("暂时无法使用", ["系统正在恢复,请过几分钟再试。没有收下的表请再报一次,重复报送不会重复计算。"], 503)
    response.headers["Retry-After"] = "30"
    return response


def in_chinese(error: ProblemError) -> str:
    """What a person is told of a problem."""
    if error.body.type.endswith(f":{MESSAGE_TOO_LARGE}"):
        return str(error)
    if error.status == 413:
        return f"文件过大:每份不超过5兆、{layout.MOST_ROWS}行,请分成几份报送。"
    if error.status == 503:
        return "暂时无法确认已收下:请稍后把同一份表再报一次,重复报送不会重复计算。"
    return "请求不完整,请回到首页再试一次。"


async def read_form(edge: Edge, request: Request) -> dict[str, Any]:
    """The fields of a form, one file at most; bounded as every body of ours.

    Raises:
        ProblemError: 413 over 5 MiB, 400 where it is no form.
    """
    async with edge.body(request) as body:
        kind = request.headers.get("content-type", "")
        if kind.startswith("application/x-www-form-urlencoded"):
            try:
                return dict(parse_qsl(body.decode(), max_num_fields=10))
            except ValueError:
                raise ProblemError(400, "malformed", "send a form") from None

        async def parts() -> AsyncGenerator[bytes, None]:
            yield body

        try:
            parsed = await MultiPartParser(request.headers, parts(), max_files=1, max_fields=10).parse()
        except (MultiPartException, KeyError, ValueError):
            raise ProblemError(400, "malformed", "send a form") from None
        return dict(parsed.multi_items())
