"""``/v1/audit``: imports and exports of the registry, links and logins of companies, sheets, rebuilds."""

from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from shared import audit
from shared.bearer import operator_of
from shared.postgres import Pool, Unavailable
from shared.problems import ProblemError, described

RETRY_SECONDS: Final = 5


def routes(pool: Callable[[], Pool], operator_token: str) -> APIRouter:
    """The route of the audit; an empty token opens nothing."""
    problems = described({401: "The token is missing or wrong.", 422: "A parameter is wrong.", 503: "The database is away."})
    router = APIRouter(tags=["audit"], dependencies=[Depends(operator_of(operator_token))], responses=problems)

    @router.get("/v1/audit", responses={200: {"model": audit.Trail}})
    async def read_audit(after: audit.After = 0, since: audit.Since = None, limit: audit.Limit = 100) -> Response:
        """Who did what, when, the earliest first; with the operator's token."""
        try:
            async with pool().acquire() as db:
                return await audit.read(db, "utilities", after=after, since=since, limit=limit)
        except Unavailable:
            why = "the audit cannot be read now: ask again"
            raise ProblemError(503, "database-away", why, retry_after=RETRY_SECONDS) from None

    return router
