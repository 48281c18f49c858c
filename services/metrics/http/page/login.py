"""Login and logout of the page: a bearer token or a one-time link is exchanged for a session."""

from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from services.metrics.domain.access import Asker
from services.metrics.http import sessions as cookies
from services.metrics.http.access import RETRY_SECONDS, Access, Granted
from services.metrics.http.page.rendering import HEADERS, message, render
from shared import audit
from shared.pages import is_own_form
from shared.postgres import Unavailable, passes
from shared.problems import ProblemError
from shared.push import read_body

router = APIRouter(include_in_schema=False)

NEXT: Final = "/"


def ask(request: Request, access: Access) -> Response:
    """The page that asks who it is; afterwards the browser goes on to where it wanted to."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return form(access, next=within(wanted))


def form(access: Access, *, status: int = 200, link: str | None = None, wrong: bool = False, next: str = NEXT) -> Response:
    """The login's form, with the issuer's login where there is one."""
    return render("login.html", status, link=link, wrong=wrong, next=next, issuer=access.identity.issuer is not None)


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


@router.get("/login")
async def get_login(request: Request, access: Granted, link: str = "") -> Response:
    """The page behind a login link. It uses the link only by a button's POST: what merely looks at links spends none."""
    try:
        if link and access.identity.of_link(request, link, access.clock()) is None:
            return message("链接已失效", *SPENT, status=403)
    except ProblemError as error:
        return too_fast(error)
    return form(access, link=link or None)


SPENT: Final = ("每个登录链接只能用一次,且一小时内有效。", "请运行 ./onething page 取一个新的链接,或用令牌登录。")


@router.post("/session")
async def begin(request: Request, access: Granted) -> Response:
    """Gives a session for a bearer token (field ``token``) or a login link (field ``link``)."""
    if not is_own_form(request):
        return foreign()
    given, now, identity = await _form(request), access.clock(), access.identity
    wanted = within(given.get("next", NEXT))
    try:
        if link := given.get("link"):
            found = identity.of_link(request, link, now)
            if found is None or not await cookies.spend(access.writing, found[0].id, found[0].until, now):
                return message("链接已失效", *SPENT, status=403)
            token, asker = found[0].token, found[1]
        else:
            token = given.get("token", "").strip()
            known = await identity.of_token(request, token)
            if known is None:
                return form(access, status=403, wrong=True, next=wanted)
            asker = known
        await note_login(access, asker, "link" if link else "token", now)
    except ProblemError as error:
        return too_fast(error)
    except Unavailable as error:
        return away(error)
    response = go(wanted)
    cookies.begin(response, identity.mint(asker, token, now), secure=access.secure)
    return response


async def note_login(access: Access, asker: Asker, by: str, now: datetime) -> None:
    """Has the audit say who logged in, and by what: ``token``, ``link`` or ``oidc``."""
    async with access.writing().acquire() as db:
        detail = {"by": by} if asker.county is None else {"by": by, "county": asker.county}
        await audit.write(db, at=now, role=asker.scope, who=asker.name, action="page.login", subject="page", detail=detail)


@router.post("/logout")
async def end(request: Request, access: Granted) -> Response:
    """Ends the session, also for whoever has copied its cookie."""
    if not is_own_form(request):
        return foreign()
    now = access.clock()
    try:
        session = await access.identity.of_session(request.cookies, access.pool, now)
        if session is not None:
            await cookies.spend(access.writing, session.id, session.until, now)
    except Unavailable as error:
        return away(error)
    issuer = access.identity.issuer if session is not None and session.credential is None else None
    elsewhere = await issuer.end_address() if issuer is not None else None
    response = render("message.html", title="已退出", said=("下次查看时请重新登录。",), elsewhere=elsewhere)
    cookies.forget(response, secure=access.secure)
    return response


def away(error: Exception) -> Response:
    """The database does not answer; a statement of ours that fails is raised again, for it stays our fault."""
    if not passes(error):
        raise error
    response = message("暂时无法使用", "数据库正在恢复,请稍后刷新本页。", status=503)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def too_fast(error: ProblemError) -> Response:
    """Too many questions, or too many wrong tokens from one address."""
    response = message("请求过于频繁", f"请在{error.retry_after}秒后再试。", status=429)
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def foreign() -> Response:
    """The form is of no page of ours."""
    return message("请重新登录", "页面已过期,或请求不是从本页发出的。请回到首页。", status=403)
