"""What every process serves: health, metrics, contracts; and how it is served."""

import asyncio
import contextlib
import resource
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute, APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared import meters, tracing
from shared.problems import ProblemError
from shared.timing import Timed

Check = Callable[[], Awaitable[str | None]]
"""Gives ``None`` when the part works, else what is wrong."""


def add_health(app: FastAPI, process: meters.Process, checks: Mapping[str, Check]) -> None:
    """Adds ``/livez``, ``/readyz`` (200, or 503 with what is wrong) and ``/metrics``, and has requests timed.

    Call it when all other middleware stands: what comes later is not timed.
    """
    registry = meters.registry(process)
    app.add_middleware(Timed)

    async def wrong() -> dict[str, str]:
        found = await asyncio.gather(*(check() for check in checks.values()))
        for name, what in zip(checks, found, strict=True):
            meters.READY.labels(name).set(what is None)
        return {name: what for name, what in zip(checks, found, strict=True) if what is not None}

    @app.get("/livez", tags=["health"])
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"], responses={503: {"description": "Not ready; says which part is not."}})
    async def readyz() -> JSONResponse:
        found = await wrong()
        return JSONResponse({"status": "not ready" if found else "ready", "wrong": found}, 503 if found else 200)

    @app.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        await wrong()
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Shortcut:
    """ASGI middleware: requests of one method and path go to an endpoint, everything else to ``app``."""

    def __init__(self, app: ASGIApp, method: str, route: APIRoute) -> None:
        self._app = app
        self._method = method
        self._route = route
        self._path = route.path_regex
        self._endpoint = route.endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fits = self._path.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == self._method else None
        if fits is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = self._route
        try:
            response = await self._endpoint(request=Request(scope, receive, send), **fits.groupdict())
        except ProblemError as error:
            response = error.response()
        await response(scope, receive, send)


def answer_directly(app: FastAPI, router: APIRouter, path: str, method: str) -> None:
    """Has ``path`` of ``router``, which ``app`` includes without a prefix, answered without FastAPI's own way to a route.

    For an endpoint that takes its path's parameters as strings and the ``Request``, gives a ``Response``, and raises
    :class:`ProblemError` alone, that way does nothing, and costs more than our own work on one event (0.18 of 0.32 ms). FastAPI
    goes on describing the route, and answers the other methods of the path.

    Raises:
        ValueError: there is no such route, or it asks FastAPI for more than that.
    """
    found = [r for r in router.routes if isinstance(r, APIRoute) and r.path == path and method in (r.methods or ())]
    if len(found) != 1:
        raise ValueError(f"{method} {path} is {len(found)} routes")
    (route,) = found
    needs = route.dependant
    if needs.dependencies or needs.query_params or needs.header_params or needs.cookie_params or needs.body_params:
        raise ValueError(f"{method} {path} has parameters that FastAPI reads")
    app.add_middleware(_Shortcut, method=method, route=route)


STARTUP_FAILED: Final = 3
"""The exit status of a server that could not start, as uvicorn's own command has it."""

ABORT: Final = "onething.abort"
"""An extension of the ASGI scope: ``call`` drops the connection at once, with what waits to be written."""


def when_stopping(app: FastAPI, told: Callable[[], None]) -> None:
    """Has ``told`` called when the server is asked to stop: answers that never end are to end then, or they would hold it up."""
    if not hasattr(app.state, "when_stopping"):
        app.state.when_stopping = []
    app.state.when_stopping.append(told)


class _Protocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope.setdefault("extensions", {})[ABORT] = {"call": self.transport.abort}


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)
        # Here, for after it the signal that stopped us is raised again, and ends the process.
        await asyncio.to_thread(tracing.close)


def serve(app: FastAPI, *, host: str, port: int) -> None:
    """Runs ``app`` until SIGINT or SIGTERM, then lets requests in flight end (10 s at most)."""
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The usual soft limit of 1,024 is for programs that use select(2): a thousand clients would come to it.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=_Protocol,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # whom to believe about a request's origin is said by the settings that need it
        timeout_graceful_shutdown=10,
    )

    def stopping() -> None:
        for told in getattr(app.state, "when_stopping", ()):
            told()

    server = _Server(config, stopping)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILED)
