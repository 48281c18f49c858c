"""A route that is answered without FastAPI's way to it: described, answered and refused as before."""

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse

from shared import problems
from shared.problems import ProblemError
from shared.web import answer_directly

PATH = "/v1/things/{name}/events"


def _app(*, directly: bool) -> FastAPI:
    app = FastAPI()
    problems.install(app)
    router = APIRouter()

    @router.post(PATH, status_code=202)
    async def put(name: str, request: Request) -> PlainTextResponse:
        if name == "bad":
            raise ProblemError(422, "bad", "send a good one")
        return PlainTextResponse(f"{name} {len(await request.body())}", 202)

    @router.options(PATH)
    async def ask(name: str) -> PlainTextResponse:
        return PlainTextResponse(f"ask {name}")

    @router.get("/v1/query")
    async def query(after: str = "", _: None = Depends(lambda: None)) -> str:
        return after

    app.include_router(router)
    if directly:
        answer_directly(app, router, PATH, "POST")
    for path, method in ((PATH, "PUT"), ("/v1/query", "GET")):
        with pytest.raises(ValueError, match=method):
            answer_directly(app, router, path, method)
    return app


async def test_every_answer_is_as_it_was() -> None:
    apps = [_app(directly=True), _app(directly=False)]
    assert apps[0].openapi() == apps[1].openapi()
    told = []
    for app in apps:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            answers = [
                await client.request(method, path.format(name=name), content=b"body" if method == "POST" else None)
                for method in ("POST", "OPTIONS", "GET", "DELETE", "HEAD")
                for name in ("one", "bad", "%E4%BD%A0 ", "a/b")
                for path in (PATH, PATH + "/")
            ]
        told.append([(answer.status_code, dict(answer.headers), answer.content) for answer in answers])
    assert told[0] == told[1]
    assert {status for status, _, _ in told[0]} >= {202, 200, 422, 404, 405}
