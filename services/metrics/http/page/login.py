"""Login and logout of the page: a bearer token or a one-time link is exchanged for a session."""

import hmac
from typing import Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from services.metrics.domain import sessions
from services.metrics.http import sessions as cookies
from services.metrics.http.access import RETRY_SECONDS, Access, Granted
from services.metrics.http.page.rendering import HEADERS, message, render
from shared.pages import is_own_form
from shared.postgres import Unavailable, passes
from shared.push import read_body

router = APIRouter(include_in_schema=False)

NEXT: Final = "/"


def ask(request: Request, *, wrong: bool = False) -> Response:
    """The page that asks for a token; afterwards the browser goes on to where it wanted to."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return render("login.html", 403 if wrong else 200, link=None, wrong=wrong, next=within(wanted))


def within(wanted: str) -> str:
    """``wanted`` where it is an address of ours, else the first page: nobody may send a browser elsewhere through us."""
    local = wanted.startswith("/") and not wanted.startswith(("//", "/\\", "/login", "/session", "/logout"))
    return wanted if local and wanted.isprintable() else NEXT


def go(path: str) -> Response:
    """On to another page, by GET."""
    return RedirectResponse(path, 303, HEADERS)


async def _form(request: Request) -> dict[str, str]:
    try:
        return dict(parse_qsl((await read_body(request)).decode(), max_num_fields=10))
    except ValueError:
        return {}


def _role_of(token: str, access: Access) -> str | None:
    """The role that the token proves."""
    found = None
    for role, known in access.tokens.items():
        if known and hmac.compare_digest(token.encode(), known.encode()):
            found = role
    return found


@router.get("/login")
async def get_login(access: Granted, link: str = "") -> Response:
    """The page behind a login link. It uses the link only by a button's POST: what merely looks at links spends none."""
    if sessions.read("link", link, access.tokens, access.clock()) is None:
        return message("链接已失效", *SPENT, status=403) if link else render("login.html", link=None, wrong=False, next=NEXT)
    return render("login.html", link=link, wrong=False, next=NEXT)


SPENT: Final = ("每个登录链接只能用一次,且一小时内有效。", "请运行 ./onething page 取一个新的链接,或用令牌登录。")


@router.post("/session")
async def begin(request: Request, access: Granted) -> Response:
    """Gives a session for a bearer token (field ``token``) or a login link (field ``link``)."""
    if not is_own_form(request):
        return foreign()
    form, now = await _form(request), access.clock()
    if link := form.get("link"):
        ticket = sessions.read("link", link, access.tokens, now)
        try:
            fresh = ticket is not None and await cookies.spend(access.pool, ticket, now)
        except Unavailable as error:
            return away(error)
        if ticket is None or not fresh:
            return message("链接已失效", *SPENT, status=403)
        role: str | None = ticket.role
    else:
        role = _role_of(form.get("token", "").strip(), access)
    wanted = within(form.get("next", NEXT))
    if role is None:
        return render("login.html", 403, link=None, wrong=True, next=wanted)
    response = go(wanted)
    cookies.begin(response, role, access.tokens, now, secure=access.secure)
    return response


@router.post("/logout")
async def end(request: Request, access: Granted) -> Response:
    """Ends the session, also for whoever has copied its cookie."""
    if not is_own_form(request):
        return foreign()
    now = access.clock()
    try:
        ticket = await cookies.session_of(request.cookies, access.tokens, access.pool, now)
        if ticket is not None:
            await cookies.spend(access.pool, ticket, now)
    except Unavailable as error:
        return away(error)
    response = message("已退出", "下次查看时请重新登录。")
    cookies.forget(response, secure=access.secure)
    return response


def away(error: Exception) -> Response:
    """The database does not answer; a statement of ours that fails is raised again, for it stays our fault."""
    if not passes(error):
        raise error
    response = message("暂时无法使用", "数据库正在恢复,请稍后刷新本页。", status=503)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def foreign() -> Response:
    """The form is of no page of ours."""
    return message("请重新登录", "页面已过期,或请求不是从本页发出的。请回到首页。", status=403)
