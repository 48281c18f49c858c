"""The page's session as browsers keep it: a cookie that scripts cannot read and no other site can make a browser send."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from starlette.responses import Response

from services.metrics.domain import sessions
from services.metrics.http.identity import COOKIE
from services.metrics.store import sessions as store
from shared.postgres import Pool

LOGIN_COOKIE: Final = "onething-login"
"""What has to come back from the issuer's login. Another site sends the browser back, so it goes with links from there too."""


async def spend(writing: Callable[[], Pool], ticket: str, until: datetime, now: datetime) -> bool:
    """Uses a link or ends a session; ``False`` when that was done already."""
    async with writing().acquire() as db:
        return await store.spend(db, ticket, until, now)


def begin(response: Response, text: str, *, secure: bool) -> None:
    """Gives the browser a session. ``secure``: the page is reached by HTTPS, so the cookie is never to go otherwise."""
    seconds = int(sessions.SESSION_LIFE.total_seconds())
    response.set_cookie(COOKIE, text, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict")


def forget(response: Response, *, secure: bool) -> None:
    """Takes the cookie from the browser."""
    response.delete_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="strict")


def keep_login(response: Response, text: str, *, secure: bool) -> None:
    """Gives the browser what it has to bring back from the issuer."""
    seconds = int(sessions.LOGIN_LIFE.total_seconds())
    response.set_cookie(LOGIN_COOKIE, text, max_age=seconds, path="/oidc", secure=secure, httponly=True, samesite="lax")


def forget_login(response: Response, *, secure: bool) -> None:
    """Takes that from it."""
    response.delete_cookie(LOGIN_COOKIE, path="/oidc", secure=secure, httponly=True, samesite="lax")
