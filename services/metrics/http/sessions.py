"""The page's session as the routes see it: a cookie that scripts cannot read and no other site can make a browser send."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from starlette.responses import Response

from services.metrics.domain import sessions
from services.metrics.domain.sessions import Ticket
from services.metrics.store import sessions as store
from shared.postgres import Pool

COOKIE: Final = "onething-session"

Tokens = Mapping[str, str]
"""The bearer tokens, by role."""


async def session_of(cookies: Mapping[str, str], tokens: Tokens, pool: Callable[[], Pool], now: datetime) -> Ticket | None:
    """The session that the request's cookie proves; ``None`` without one, or where it is over or was ended."""
    given = cookies.get(COOKIE)
    ticket = sessions.read("session", given, tokens, now) if given else None
    if ticket is None:
        return None
    async with pool().acquire() as db:
        return None if await store.is_spent(db, ticket.id) else ticket


async def spend(pool: Callable[[], Pool], ticket: Ticket, now: datetime) -> bool:
    """Uses a link or ends a session; ``False`` when that was done already."""
    async with pool().acquire() as db:
        return await store.spend(db, ticket.id, ticket.until, now)


def begin(response: Response, role: str, tokens: Tokens, now: datetime, *, secure: bool) -> None:
    """Gives the browser a session of ``role``. ``secure``: the page is reached by HTTPS, so the cookie is never to go otherwise."""
    seconds = int(sessions.SESSION_LIFE.total_seconds())
    text = sessions.mint("session", role, tokens[role], now)
    response.set_cookie(COOKIE, text, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict")


def forget(response: Response, *, secure: bool) -> None:
    """Takes the cookie from the browser."""
    response.delete_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="strict")
