"""What every process serves: health, metrics, contracts; and how it is served."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute, APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.routing import Match, Route
from starlette.types import Scope

Check = Callable[[], Awaitable[str | None]]
"""Gives ``None`` when the part works, else what is wrong."""


def add_health(app: FastAPI, checks: Mapping[str, Check]) -> None:
    """Adds ``/livez``, ``/readyz`` (200, or 503 with what is wrong) and ``/metrics``."""

    @app.get("/livez", tags=["health"])
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"], responses={503: {"description": "Not ready; says which part is not."}})
    async def readyz() -> JSONResponse:
        found = await asyncio.gather(*(check() for check in checks.values()))
        wrong = {name: what for name, what in zip(checks, found, strict=True) if what is not None}
        return JSONResponse({"status": "not ready" if wrong else "ready", "wrong": wrong}, 503 if wrong else 200)

    @app.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class _Shortcut(Route):
    """Answers what it fits wholly; another method of the path is none of its business."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return (match, child) if match is Match.FULL else (Match.NONE, {})


def answer_directly(app: FastAPI, router: APIRouter, path: str, method: str) -> None:
    """Has ``path`` of ``router``, which ``app`` includes without a prefix, answered without FastAPI's own way to a route.

    For an endpoint that takes its path's parameters as strings and the ``Request``, and gives a ``Response``, that way does
    nothing, and costs more than our own work on one event (0.15 of 0.32 ms). FastAPI goes on describing the route, and answers
    the other methods of the path.

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
    endpoint = route.endpoint

    async def answer(request: Request) -> Response:
        response: Response = await endpoint(request=request, **request.path_params)
        return response

    app.router.routes.insert(0, _Shortcut(path, answer, methods=[method]))


def serve(app: FastAPI, *, host: str, port: int) -> None:
    """Runs ``app`` until SIGINT or SIGTERM, then lets requests in flight end (10 s at most)."""
    uvicorn.run(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # whom to believe about a request's origin is said by the settings that need it
        timeout_graceful_shutdown=10,
    )
