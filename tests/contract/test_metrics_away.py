"""What the reading api answers while its database is away, and when the fault is ours."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from services.metrics.main import build_api
from services.metrics.settings import Settings
from tests.conftest import TestDatabase

TOKEN = {"Authorization": "Bearer reader"}


@pytest.fixture
async def client(database: TestDatabase) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(
        postgres_dsn=SecretStr(database.dsn("metrics")), reader_token=SecretStr("reader"), operator_token=SecretStr("operator")
    )
    app = build_api(settings, clock=lambda: datetime(2024, 10, 2, tzinfo=UTC))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://metrics", headers=TOKEN) as opened:
            yield opened


async def _run(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_database_that_is_away_is_a_503_that_says_when_to_ask_again(
    client: httpx.AsyncClient, database: TestDatabase
) -> None:
    assert (await client.get("/v1/unplaced")).status_code == 200
    session = (await client.post("/session", data={"token": "reader"})).cookies
    client.cookies.update(session)
    assert "总数与排名" in (await client.get("/")).text
    server, _, name = database.admin_dsn.rpartition("/")
    await _run(f"{server}/postgres", f'drop database "{name}" with (force)')
    answer = await client.get("/v1/unplaced")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert (answer.json()["type"], answer.headers["retry-after"]) == ("urn:onething:problem:database-away", "5")
    for page in (await client.get("/"), await client.post("/logout")):
        assert (page.status_code, page.headers["retry-after"], "暂时无法使用" in page.text) == (503, "5", True)


async def test_a_statement_of_ours_that_fails_is_not_called_a_database_that_is_away(
    client: httpx.AsyncClient, database: TestDatabase
) -> None:
    await _run(database.admin_dsn, "alter table metrics.cases rename to hidden")
    assert (await client.get("/v1/unplaced")).status_code == 500
