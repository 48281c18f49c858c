"""The login by the issuer of OpenID Connect: off to it, and back. Without an issuer there is no such login."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.metrics.domain import sessions
from services.metrics.http import sessions as cookies
from services.metrics.http.access import RETRY_SECONDS, Granted
from services.metrics.http.oidc import Issuer, IssuerAway, LoginRefused
from services.metrics.http.page.login import NEXT, away, note_login, within
from services.metrics.http.page.rendering import HEADERS, message, render
from shared.postgres import Unavailable

router = APIRouter(prefix="/oidc", include_in_schema=False)


@router.get("/login")
async def begin(request: Request, access: Granted, next: str = NEXT) -> Response:
    """Sends the browser to the issuer."""
    issuer = access.identity.issuer
    if issuer is None:
        return _none()
    kept: dict[str, object] = {"next": within(next)}
    try:
        response = await issuer.begin(request, kept)
    except IssuerAway:
        return _away()
    response.headers.update(HEADERS)
    cookies.keep_login(response, sessions.seal(access.identity.key, kept, access.clock()), secure=access.secure)
    return response


@router.get("/callback")
async def end(request: Request, access: Granted) -> Response:
    """The browser comes back from the issuer: the session begins.

    It goes on by a page of ours and not by a redirect: the session's cookie is not sent where another site had the first word.
    """
    issuer = access.identity.issuer
    if issuer is None:
        return _none()
    kept = sessions.unseal(access.identity.key, request.cookies.get(cookies.LOGIN_COOKIE, ""), access.clock())
    wanted = within(str(kept.pop("next", NEXT)))
    response = await _finished(request, access, issuer, kept, wanted)
    cookies.forget_login(response, secure=access.secure)
    return response


async def _finished(request: Request, access: Granted, issuer: Issuer, kept: dict[str, object], wanted: str) -> Response:
    try:
        asker = await issuer.finish(request, kept)
    except IssuerAway:
        return _away()
    except LoginRefused as error:
        return message("没有登录", str(error), status=403)
    try:
        await note_login(access, asker, "oidc", access.clock())
    except Unavailable as error:
        return away(error)
    response = render("arrived.html", next=wanted)
    cookies.begin(response, access.identity.mint(asker, None, access.clock()), secure=access.secure)
    return response


def _away() -> Response:
    response = message("暂时无法登录", "统一身份认证没有回应,请稍后再试;也可以用令牌登录。", status=503)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _none() -> Response:
    return message("没有这个页面", "本系统没有接入统一身份认证,请用令牌登录。", status=404)
