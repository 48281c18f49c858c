"""Answers from memory over a real PostgreSQL: a move is seen at once, and a listener that was cut off hides nothing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest_asyncio
from pydantic import SecretStr

from services.metrics.main import build_api
from services.metrics.settings import Settings
from tests.conftest import TestDatabase

ADD = """
insert into metrics.counters values ('disabled-service', '130607', '2024-09-01', 1, 0, 0, 0, 0, 0, 0, 0, 0)
on conflict (item, day, county) do update set handled = counters.handled + 1
"""
LISTENERS = "select pid from pg_stat_activity where application_name = 'metrics-api-listens' and datname = current_database()"


@pytest_asyncio.fixture
async def db(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.admin_dsn)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def api(database: TestDatabase) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(postgres_dsn=SecretStr(database.dsn("metrics")), reader_token=SecretStr("reader"))
    app = build_api(settings, clock=lambda: datetime(2024, 10, 2, tzinfo=UTC))
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": "Bearer reader"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://metrics", headers=headers) as client,
    ):
        yield client


async def total(api: httpx.AsyncClient) -> int:
    answer = await api.get("/v1/ranking", params={"item": "disabled-service"})
    return int(answer.json()["total"])


async def until_total(api: httpx.AsyncClient, wanted: int) -> None:
    async with asyncio.timeout(10):
        while await total(api) != wanted:  # noqa: ASYNC110 - what is awaited is a notice of the database
            await asyncio.sleep(0.001)


async def listener(db: asyncpg.Connection) -> int:
    async with asyncio.timeout(10):
        while (pid := await db.fetchval(LISTENERS)) is None:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.02)
    return int(pid)


async def test_every_move_is_seen(db: asyncpg.Connection, api: httpx.AsyncClient) -> None:
    await listener(db)
    for moved in range(1, 20):
        await db.execute(ADD)
        await until_total(api, moved)
        assert await total(api) == moved


async def test_a_listener_that_is_cut_off_hides_nothing(db: asyncpg.Connection, api: httpx.AsyncClient) -> None:
    pid = await listener(db)
    await until_total(api, 0)
    await db.execute("select pg_terminate_backend($1)", pid)
    await db.execute(ADD)
    await until_total(api, 1)
    assert await listener(db) != pid  # it listens again
    await db.execute(ADD)
    await until_total(api, 2)


async def test_a_snapshot_moves_the_halls(db: asyncpg.Connection, api: httpx.AsyncClient) -> None:
    await listener(db)
    assert (await api.get("/v1/co-location")).json()["total"]["applicable"] == 0
    await db.execute(
        "insert into metrics.snapshots values ('registry', '130607/water-1/water', 1, false, $1)",
        '{"county": "130607", "company": "w", "name": "水务", "service": "water", "periods": [{"valid_from": "2024-01-01"}]}',
    )
    async with asyncio.timeout(10):
        while (await api.get("/v1/co-location")).json()["total"]["applicable"] != 1:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
