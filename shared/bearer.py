"""The operator's bearer token, and the name that its holder gives."""

import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, Header
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shared import people
from shared.problems import ProblemError

OPERATOR: Final = "operator"
_WHO: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")

_bearer: Final = HTTPBearer(auto_error=False, description="operator_token of endpoints.json")
Given = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def operator_of(token: str) -> Callable[[Given], Awaitable[None]]:
    """A dependency that passes with ``token`` alone; an empty one opens nothing. It raises ProblemError 401."""

    async def operator(given: Given) -> None:
        shown = given.credentials.encode() if given else b""
        if not (token and hmac.compare_digest(shown, token.encode())):
            raise ProblemError(401, "token", "send the operator's token: Authorization: Bearer …")

    return operator


def named(given: str | None) -> str:
    """Who asks, for the audit: a name that the holder of the token gives, else ``operator``. A person's number is no name."""
    return given if given is not None and _WHO.fullmatch(given) and not people.is_somebodys(given) else OPERATOR


async def _who(operator: Annotated[str | None, Header(alias="onething-operator")] = None) -> str:
    return named(operator)


Who = Annotated[str, Depends(_who)]
