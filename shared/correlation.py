"""Which request an answer, a log line and a span belong to: its id, ``X-Request-Id``.

Each request gets one: the caller's own where that is a plain name and nobody's number, else one of ours. It is answered back, and
stands in each log line of the request and in each problem, so that a caller can quote it.
"""

import itertools
import re
import secrets
import time
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import people, tracing

log = structlog.get_logger()

HEADER: Final = b"x-request-id"
_SAFE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

UNTOLD: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked every few seconds by machines: neither traced nor logged."""

ENDLESS: Final = frozenset({"/v1/stream"})
"""Answers that go on for hours: no span waits for their end."""

MOST_LINES: Final = 100
"""Of refused requests in :data:`LINES_SECONDS`: a flood of them must not flood the log."""
LINES_SECONDS: Final = 10.0

# Ours: of this process, then of the request. As unique as a random one, and made in a twentieth of the time.
_OURS: Final = secrets.token_hex(8)
_numbers: Final = itertools.count(1)


class Asked:
    """One request: its id, and what is learned of it on the way, for its log line."""

    __slots__ = ("party", "problem", "request_id")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.party: str | None = None
        """Who was proven to ask."""
        self.problem: str | None = None
        """The last part of the problem's type that was answered."""


_asked: ContextVar[Asked | None] = ContextVar("onething_asked", default=None)


def current() -> Asked | None:
    """The request that is being answered, where one is."""
    return _asked.get()


def ids() -> dict[str, str]:
    """What a log line says of the request and the span under way."""
    asked = _asked.get()
    return {**({} if asked is None else {"request_id": asked.request_id}), **tracing.ids()}


def proven(party: str) -> None:
    """Notes who was proven to ask, for the log and the span."""
    if (asked := _asked.get()) is not None:
        asked.party = party
        tracing.note(party=party)


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that the caller gave, where it may be used; else a new one."""
    for name, value in headers:
        if name == HEADER:
            given = value.decode("latin-1")
            if _SAFE.fullmatch(given) and not people.may_be_somebodys(given):
                return given
    return f"{_OURS}-{next(_numbers):x}"


def correlate(app: FastAPI, service: str) -> None:
    """Has each request of ``app`` known by its id; call last, so that it stands around all else that answers."""
    app.add_middleware(_Correlated, service=service)


class _Correlated:
    """ASGI middleware: the request's id and span, and one log line for each request that is refused or fails."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self._app = app
        self._service = service
        self._lines = _Thinned()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Asked(request_id_of(scope["headers"]))
        # Never reset: each request has a task of its own, and what the server says of its failure bears the id too.
        _asked.set(asked)
        added = [(HEADER, asked.request_id.encode())]
        status = 500

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        path, method = scope["path"], scope["method"]
        if path in UNTOLD or path in ENDLESS:
            await self._app(scope, receive, answering)
            return
        with tracing.serving(method, scope["headers"]) as serving:
            if serving is not None:
                added.append((tracing.RESPONSE_HEADER, serving.response))
            try:
                await self._app(scope, receive, answering)
            finally:
                if serving is not None:
                    serving.answered(method, _route(scope), status)
                if status >= 400:
                    self._tell(asked, method, _route(scope), status)
                elif serving is not None and serving.kept:
                    log.info("request_traced", **self._told(asked, method, _route(scope), status))

    def _tell(self, asked: Asked, method: str, route: str | None, status: int) -> None:
        unsaid = self._lines.next()
        if unsaid is None:
            return
        told = self._told(asked, method, route, status) | ({"unsaid": unsaid} if unsaid else {})
        if status < 500:
            log.info("request_refused", **told)
        else:
            log.warning("request_failed", **told)

    def _told(self, asked: Asked, method: str, route: str | None, status: int) -> dict[str, Any]:
        told = {"service": self._service, "method": method, "route": route, "status": status}
        told |= {"problem": asked.problem, "party": asked.party}
        return {name: value for name, value in told.items() if value is not None}


def _route(scope: Scope) -> str | None:
    """The route's template; the path itself may hold anything."""
    found: str | None = getattr(scope.get("route"), "path", None)
    return found


class _Thinned:
    """At most so many lines in a while; the next one after it says how many were left out."""

    def __init__(self) -> None:
        self._since = 0.0
        self._said = 0
        self._unsaid = 0

    def next(self) -> int | None:
        """How many lines were left out since the last one; ``None``: leave this one out too."""
        now = time.monotonic()
        if now - self._since >= LINES_SECONDS:
            self._since, self._said = now, 0
        if self._said >= MOST_LINES:
            self._unsaid += 1
            return None
        self._said += 1
        unsaid, self._unsaid = self._unsaid, 0
        return unsaid
