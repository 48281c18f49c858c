"""What every process serves: health, metrics, contracts; and how it is served."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

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
