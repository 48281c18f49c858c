"""What routes ask for: who is asking, a connection, today, and parameters that several of them share."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.metrics.http.sessions import session_of
from services.metrics.http.standing import StandingAnswers
from shared import counties, items
from shared.clock import Clock, business_day
from shared.postgres import Connection, Pool, Unavailable, passes
from shared.problems import ProblemError, described
from shared.verdicts import FieldError


@dataclass(frozen=True, slots=True)
class Access:
    """What the composition root gives the routes, as ``app.state.access``. An empty token opens nothing."""

    pool: Callable[[], Pool]
    clock: Clock
    reader_token: str
    operator_token: str
    answers: StandingAnswers
    secure: bool = False
    """Whether people reach the page by HTTPS."""

    @property
    def tokens(self) -> dict[str, str]:
        """The bearer tokens, by role."""
        return {"reader": self.reader_token, "operator": self.operator_token}


def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


_bearer = HTTPBearer(auto_error=False, description="reader_token or operator_token of endpoints.json")

Given = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
Granted = Annotated[Access, Depends(_access)]


def _fits(given: HTTPAuthorizationCredentials | None, *tokens: str) -> bool:
    shown = given.credentials.encode() if given else b""
    fits = False
    for token in tokens:
        fits |= bool(token) and hmac.compare_digest(shown, token.encode())
    return fits


async def reader(request: Request, given: Given, access: Granted) -> None:
    """Passes with the reader's or the operator's token; a GET also with the page's session.

    Raises:
        ProblemError: 401.
    """
    asks_by_session = given is None and request.method == "GET"
    if asks_by_session and await session_of(request.cookies, access.tokens, access.pool, access.clock()) is not None:
        return
    if not _fits(given, access.reader_token, access.operator_token):
        raise ProblemError(401, "token", "send the reader's token: Authorization: Bearer …")


async def operator(request: Request, given: Given, access: Granted) -> None:
    """Passes with the operator's token alone.

    Raises:
        ProblemError: 401 without a token that fits any role, 403 with the reader's.
    """
    await reader(request, given, access)
    if not _fits(given, access.operator_token):
        raise ProblemError(403, "operator-only", "this needs the operator's token")


async def standing(access: Access, question: Hashable, ask: Callable[[Connection], Awaitable[Any]]) -> Response:
    """The answer to ``question`` as JSON: the one that stands, or what ``ask`` finds in the database."""

    async def make() -> bytes:
        async with access.pool().acquire() as db:
            return orjson.dumps(await ask(db))

    return Response(await access.answers.get(question, make), media_type="application/json")


async def _connection(access: Granted) -> AsyncIterator[Connection]:
    async with access.pool().acquire() as db:
        yield db


def _today(access: Granted) -> date:
    return business_day(access.clock())


Db = Annotated[Connection, Depends(_connection)]
Today = Annotated[date, Depends(_today)]
AsOf = Annotated[date | None, Query(description="Business date in Asia/Shanghai, inclusive; today without it.")]
Since = Annotated[date | None, Query(alias="from", description="First business date; without it from the beginning.")]
ItemCode = Annotated[str | None, Query(description="Code of a one-thing item.", examples=["disabled-service"])]
CountyCode = Annotated[str | None, Query(description="Code of a unit of the roster.", examples=["130607"])]

RETRY_SECONDS = 5

PROBLEMS = described(
    {
        401: "The token is missing or wrong.",
        422: "A parameter is wrong; `errors` points at it.",
        503: "The database does not answer: ask again after `Retry-After` seconds.",
    }
)


def answer_while_away(app: FastAPI) -> None:
    """Makes a database that is away a 503; a statement of ours that fails stays the 500 that it is."""

    async def away(_: Request, error: Exception) -> Response:
        if not passes(error):
            raise error
        why = "the figures cannot be read now: ask again after Retry-After seconds"
        return ProblemError(503, "database-away", why, retry_after=RETRY_SECONDS).response()

    for kind in Unavailable:
        app.add_exception_handler(kind, away)


def answer(content: Any) -> Response:
    """``content`` as JSON. The framework would walk through every value in Python first, which costs more than the question."""
    return Response(orjson.dumps(content), media_type="application/json")


def wrong(parameter: str, message: str, where: str = "query") -> ProblemError:
    """A 422 that points at one parameter."""
    errors = [FieldError(pointer=f"/{where}/{parameter}", message=message)]
    return ProblemError(422, "invalid-request", "mend the parameters named in errors", errors=errors)


def known_item(code: str) -> items.Item:
    """The item of this code.

    Raises:
        ProblemError: 422, with the codes that are allowed.
    """
    try:
        return items.find(code)
    except items.UnknownItem as error:
        raise wrong("item", str(error)) from None


def known_county(code: str | None) -> str | None:
    """``code`` when it is a unit of the roster, or ``None``.

    Raises:
        ProblemError: 422, with the codes that are allowed.
    """
    if code is not None and code not in counties.BY_CODE:
        raise wrong("county", f"no unit of the roster; allowed: {', '.join(counties.BY_CODE)}")
    return code


def check_range(since: date | None, as_of: date) -> None:
    """Raises a 422 when ``since`` is later than ``as_of``."""
    if since is not None and since > as_of:
        raise wrong("from", "later than as_of: swap them, or leave one out")
