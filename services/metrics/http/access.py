"""What routes ask for: who is asking, a connection, today, and parameters that several of them share."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.metrics.domain.access import Asker, Rule, Sight, rule_of, told_limited
from services.metrics.http.identity import Identity, unknown
from services.metrics.http.standing import StandingAnswers
from shared import counties, items
from shared.clock import Clock, business_day
from shared.postgres import Connection, Pool, Unavailable, passes
from shared.problems import ProblemError, described
from shared.verdicts import FieldError


@dataclass(frozen=True, slots=True)
class Access:
    """What the composition root gives the routes, as ``app.state.access``. ``pool`` is for reading, ``writing`` for the rest."""

    pool: Callable[[], Pool]
    writing: Callable[[], Pool]
    clock: Clock
    identity: Identity
    answers: StandingAnswers
    secure: bool = False
    """Whether people reach the page by HTTPS."""


# What routes depend on is async throughout: the framework would ask anything else on a thread of its own.
async def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


_bearer = HTTPBearer(auto_error=False, description="reader_token or operator_token of endpoints.json, or another reader's token")

Given = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
Granted = Annotated[Access, Depends(_access)]


def rule_for(request: Request) -> Rule:
    """The rule of the route that the request came to."""
    return rule_of(request.method, request.scope["route"].path)


async def reader(request: Request, given: Given, access: Granted) -> Asker:
    """Who asks, by a bearer token; at a GET by the page's session too.

    Raises:
        ProblemError: 401; 403 where the route answers nobody of this scope; 429.
    """
    identity, rule = access.identity, rule_for(request)
    if given is not None:
        asker = await identity.of_bearer(request, given.credentials)
        who = asker.name
    else:
        session = None
        if request.method == "GET":
            session = await identity.of_session(request.cookies, access.pool, access.clock())
        if session is None:
            raise unknown()
        asker, who = session.asker, session.id
    if asker.own is not None and rule.county is Sight.NOTHING:
        raise ProblemError(
            403, "scope", "this is the whole city's: it needs the scope reader or operator, and your token has the scope county",
            extra={"scope": asker.scope, "needs": ["reader", "operator"]},
        )  # fmt: skip
    identity.admit(who, rule.cost)
    return asker


async def operator(asker: "Asking") -> None:
    """Passes with the scope operator alone.

    Raises:
        ProblemError: as :func:`reader`, and 403 with another scope.
    """
    if asker.scope != "operator":
        lacks: dict[str, object] = {"scope": asker.scope, "needs": ["operator"]}
        raise ProblemError(403, "operator-only", "this needs the operator's token", extra=lacks)


Asking = Annotated[Asker, Depends(reader)]


async def standing(access: Access, asker: Asker, question: Hashable, ask: Callable[[Connection], Awaitable[Any]]) -> Response:
    """The answer to ``question`` as JSON: the one that stands, or what ``ask`` finds in the database; of either, what the asker
    may see. What was made for one sight is never given to another."""

    async def make() -> bytes:
        async with access.pool().acquire() as db:
            return orjson.dumps(told_limited(await ask(db), asker.own))

    return Response(await access.answers.get((asker.own, question), make), media_type="application/json")


async def _connection(access: Granted) -> AsyncIterator[Connection]:
    async with access.pool().acquire() as db:
        yield db


async def _writing(access: Granted) -> AsyncIterator[Connection]:
    async with access.writing().acquire() as db:
        yield db


async def _today(access: Granted) -> date:
    return business_day(access.clock())


Db = Annotated[Connection, Depends(_connection)]
"""For reading."""
Writing = Annotated[Connection, Depends(_writing)]
Today = Annotated[date, Depends(_today)]
AsOf = Annotated[date | None, Query(description="Business date in Asia/Shanghai, inclusive; today without it.")]
Since = Annotated[date | None, Query(alias="from", description="First business date; without it from the beginning.")]
ItemCode = Annotated[str | None, Query(description="Code of a one-thing item.", examples=["disabled-service"])]
CountyCode = Annotated[str | None, Query(description="Code of a unit of the roster.", examples=["130607"])]

RETRY_SECONDS = 5

PROBLEMS = described(
    {
        401: "The token is missing or wrong.",
        403: "The token's scope does not open this; `needs` has the scopes that do.",
        422: "A parameter is wrong; `errors` points at it.",
        429: "Too fast, or too many wrong tokens from this address: ask again after `Retry-After` seconds.",
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


def own_county(asker: Asker, code: str | None) -> str | None:
    """The county that a list is of: the one asked for, and for those who see one county that one without asking.

    Raises:
        ProblemError: 422, not in the roster; 403, another one than the asker may see.
    """
    known_county(code)
    if asker.own is None or code in (None, asker.own):
        return asker.own or code
    raise ProblemError(
        403, "other-county", f"your token is of the county {asker.own}: leave county out, or give this one",
        errors=[FieldError(pointer="/query/county", message=f"allowed: {asker.own}")],
        extra={"scope": asker.scope, "needs": ["reader", "operator"]},
    )  # fmt: skip
