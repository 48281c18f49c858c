"""How long requests take, by route."""

import time
from functools import cache
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import meters

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_measured: Final = cache(meters.REQUESTS.labels)


class Timed:
    """ASGI middleware: the time from a request's head to its answer's head, which a stream has too.

    The route is its template, never the path: that holds case numbers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        answered = False

        async def noting(message: Message) -> None:
            nonlocal answered
            if not answered:
                answered = True
                _note(scope, message.get("status", 500), time.perf_counter() - begun)
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            if not answered:
                _note(scope, 500, time.perf_counter() - begun)
            raise


def _note(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"]
    route = getattr(scope.get("route"), "path", None)
    _measured(method if method in _METHODS else "other", route or "none", status).observe(seconds)
