"""Errors as RFC 9457 problem details, each with pointers to the places that are wrong."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from shared import correlation
from shared.verdicts import FieldError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """A problem as it is sent. ``type`` is a URN that does not change; ``detail`` says what to do."""

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    detail: str
    status: int | None = None
    errors: tuple[FieldError, ...] = ()


def problem(reason: str, title: str, detail: str, errors: Sequence[FieldError] = (), status: int | None = None) -> Problem:
    """A problem whose type is ``urn:onething:problem:<reason>``."""
    return Problem(type=f"urn:onething:problem:{reason}", title=title, detail=detail, status=status, errors=tuple(errors))


class ProblemError(Exception):
    """Ends a request with a problem. ``extra`` members stand beside the standard ones, e.g. a batch's ``results``."""

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        retry_after: int | None = None,
        extra: dict[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.body = problem(reason, HTTPStatus(status).phrase, detail, errors, status)
        self.retry_after = retry_after
        self.extra = extra or {}

    def response(self) -> JSONResponse:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer" if self.body.type.endswith(":token") else "Signature"
        content = self.body.model_dump(exclude_none=True) | self.extra
        if (asked := correlation.current()) is not None:
            asked.problem = self.body.type.rpartition(":")[2]
            content["instance"] = f"urn:onething:request:{asked.request_id}"
        return JSONResponse(content, self.status, headers, MEDIA_TYPE)


SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "detail", "status"],
    "properties": {
        "type": {"type": "string", "description": "A URN that does not change, e.g. urn:onething:problem:unknown-county."},
        "title": {"type": "string"},
        "detail": {"type": "string", "description": "What to do."},
        "status": {"type": "integer"},
        "instance": {"type": "string", "description": "The request, as in X-Request-Id: quote it when you ask about it."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {"pointer": {"type": "string", "format": "json-pointer"}, "message": {"type": "string"}},
            },
        },
    },
}
"""A problem, as an OpenAPI document shows it."""

_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "Which proof is asked for."}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "required": True, "description": "Seconds."}},
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
}


def described(descriptions: Mapping[int, str], *, results: bool = False) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer, for its description; ``results``: with those of a batch beside."""
    schema = SCHEMA if not results else SCHEMA | {"properties": SCHEMA["properties"] | {"results": _RESULTS}}
    return {
        status: {
            "description": description,
            "content": {MEDIA_TYPE: {"schema": schema}},
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
        }
        for status, description in descriptions.items()
    }


_RESULTS: Final[dict[str, Any]] = {"type": "array", "description": "As in a 202, where events were judged."}


def install(app: FastAPI) -> None:
    """Makes every error of ``app`` a problem: ours, the framework's 404 and 405, a bad query, and what is our fault."""

    async def ours(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ProblemError)
        return error.response()

    async def frameworks(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        reason = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        response = ProblemError(error.status_code, reason, f"{error.detail}. See /openapi.json for what is here.").response()
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        return response

    async def query(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        # The value itself is left out: it may be somebody's data.
        errors = [FieldError(pointer="/" + "/".join(str(part) for part in e["loc"]), message=e["msg"]) for e in error.errors()]
        return ProblemError(422, "invalid-request", "mend the parameters named in errors", errors=errors).response()

    async def fault(_: Request, __: Exception) -> JSONResponse:
        detail = "the fault is ours, and it is not known what was done: tell the operator the request in `instance`"
        response = ProblemError(500, "fault", detail).response()
        if (asked := correlation.current()) is not None:
            # Answered outside of all middleware.
            response.headers["X-Request-Id"] = asked.request_id
        return response

    app.add_exception_handler(ProblemError, ours)
    app.add_exception_handler(Exception, fault)
    app.add_exception_handler(HTTPException, frameworks)
    app.add_exception_handler(RequestValidationError, query)
