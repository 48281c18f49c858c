"""What the routes that ask share: the index's database, which may be away, and the operator's token."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from shared import problems
from shared.bearer import Given, Who, operator_of
from shared.postgres import Connection, Pool, Unavailable
from shared.problems import ProblemError

__all__ = ["PATIENCE_SECONDS", "Index", "Who", "described"]

PATIENCE_SECONDS: Final = 5.0


class Index:
    """The index's database as the routes use it; ``pool`` gives ``None`` where none is configured."""

    def __init__(self, pool: Callable[[], Pool | None], operator_token: str) -> None:
        self._pool = pool
        self._operator = operator_of(operator_token)

    @contextlib.asynccontextmanager
    async def connection(self, seconds: float = PATIENCE_SECONDS) -> AsyncIterator[Connection]:
        """A connection, for so long.

        Raises:
            ProblemError: 503; the database is away, or none is configured. Pushing goes on without it.
        """
        pool = self._pool()
        if pool is None:
            raise _away("no database is configured: set ONETHING_POSTGRES_DSN")
        try:
            async with asyncio.timeout(seconds), pool.acquire() as db:
                yield db
        except Unavailable as error:
            raise _away(f"the index cannot be asked now ({type(error).__name__}); pushing goes on. Ask again") from None

    async def operator(self, given: Given) -> None:
        """Passes with the operator's token; an empty one opens nothing.

        Raises:
            ProblemError: 401.
        """
        await self._operator(given)


def _away(why: str) -> ProblemError:
    return ProblemError(503, "index-unavailable", why, retry_after=5)


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer, for its description."""
    return problems.described({status: PROBLEMS[status] for status in statuses})


PROBLEMS: Final = {
    400: "The body is not JSON.",
    401: "The token, or the signature, is missing or wrong.",
    404: "No parked record has this id.",
    413: "The body is too large.",
    409: "It was replayed: what it became stands on the log.",
    422: "Something is wrong; `errors` points at it.",
    503: "The index, or Kafka, or metrics does not answer: ask again after `Retry-After` seconds.",
}
