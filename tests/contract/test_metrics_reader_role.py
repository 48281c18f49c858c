"""The role that may only read: it reads all that the api reads, writes nothing, and goes on doing so after a rebuild's swap."""

from datetime import UTC, datetime

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from services.metrics.main import MIGRATIONS, build_api
from services.metrics.settings import Settings
from services.metrics.store import rebuild
from shared import postgres
from tests.conftest import TestDatabase

WRITES = (
    "delete from cases", "update counters set handled = 1", "truncate spent", "insert into spent values ('x', now())",
    "insert into audit (at, role, who, action, subject, detail) values (now(), 'r', 'w', 'a', 's', '{}')",
    "create table mine (n int)", "create table public.mine (n int)", "drop table cases", "alter table cases add column n int",
    "create schema mine", "select pg_read_file('/etc/passwd')", "copy cases to '/tmp/cases'",
)  # fmt: skip


async def tables(db: asyncpg.Connection) -> list[str]:
    return [row["tablename"] for row in await db.fetch("select tablename from pg_tables where schemaname = 'metrics'")]


async def reads_and_writes_nothing(database: TestDatabase) -> None:
    db = await asyncpg.connect(database.dsn("metrics_reader"))
    try:
        assert await db.fetchval("show default_transaction_read_only") == "on"
        assert len(await tables(db)) > 10
        for table in [*(await tables(db)), "counted"]:
            await db.fetch(f"select * from {table} limit 1")
        await db.execute("set default_transaction_read_only = off")  # what a session can undo is no protection
        for statement in WRITES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.execute(statement)
        for schema in ("intake", "utilities"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.fetch(f"select * from {schema}.migrations")
    finally:
        await db.close()


async def test_it_reads_all_and_writes_nothing_before_and_after_a_rebuild(database: TestDatabase) -> None:
    await reads_and_writes_nothing(database)
    admin = await asyncpg.connect(database.admin_dsn)
    try:
        await rebuild.make_fresh(admin)
        await postgres.migrate(database.admin_dsn, rebuild.FRESH, list(MIGRATIONS.glob("*.sql")))
        async with admin.transaction():
            await rebuild.swap(admin)
        await rebuild.drop_before(admin)
    finally:
        await admin.close()
    await reads_and_writes_nothing(database)


async def test_another_role_is_not_taken_for_it(database: TestDatabase) -> None:
    files, own = list(MIGRATIONS.glob("*.sql")), database.dsn("metrics")
    with pytest.raises(ValueError, match="metrics_reader"):
        await postgres.migrate_service(database.admin_dsn, own, "metrics", files, own)


async def test_the_api_reads_by_it_and_writes_by_the_services_own_role(database: TestDatabase) -> None:
    settings = Settings(
        postgres_dsn=SecretStr(database.dsn("metrics")), postgres_reader_dsn=SecretStr(database.dsn("metrics_reader")),
        reader_token=SecretStr("reader"), operator_token=SecretStr("operator"),
    )  # fmt: skip
    app = build_api(settings, clock=lambda: datetime(2024, 10, 2, 4, tzinfo=UTC))
    async with app.router.lifespan_context(app):
        async with app.state.access.pool().acquire() as db:
            assert await db.fetchval("select current_user") == "metrics_reader"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://metrics") as client:
            operator = {"authorization": "Bearer operator"}
            frozen = await client.post("/v1/notices/2024-09", params={"item": "disabled-service"}, headers=operator)
            assert frozen.status_code == 201, frozen.text
            assert (await client.post("/v1/rebuild", headers=operator)).status_code == 200
            assert (await client.post("/session", data={"token": "reader"})).status_code == 303
            assert (await client.get("/")).status_code == 200
            assert (await client.post("/logout")).status_code == 200
            assert (await client.get("/v1/counts")).status_code == 401
