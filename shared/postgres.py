"""The edge to PostgreSQL: pools, and migrations as numbered plain SQL."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

import asyncpg

from shared import meters, tracing

Pool: TypeAlias = asyncpg.Pool
Connection: TypeAlias = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

Unavailable: Final[tuple[type[Exception], ...]] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,  # type: ignore[attr-defined]
    asyncpg.InterfaceError,  # type: ignore[attr-defined]
    asyncpg.InternalClientError,  # type: ignore[attr-defined]  # of a session that was ended while it was being handed back
)
"""What a database that is away, restarting or refusing raises."""

_PASSING: Final = ("08", "3D", "40", "53", "57")
"""Classes of SQLSTATE (PostgreSQL's documentation, appendix A): the connection, a database that is gone, a transaction rolled
back, resources, an operator's or the server's own end. The others are faults of a statement: ours."""


def passes(error: Exception) -> bool:
    """Whether it is the database that is away or overloaded, so that asking again may help; not a fault of our own statement."""
    if isinstance(error, asyncpg.PostgresError):  # type: ignore[attr-defined]
        return str(error.sqlstate or "").startswith(_PASSING)
    return isinstance(error, Unavailable)


_NUMBERED: Final = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


class MigrationError(Exception):
    """The database and the folder of migrations disagree; the message says how and what to do."""


async def open_pool(dsn: str, *, application: str, size: int = 8, stateless: bool = False, **server_settings: str) -> Pool:
    """A pool whose sessions name themselves ``application`` and have ``server_settings``.

    ``stateless``: no use of it leaves anything in its session (a lock beyond the transaction, a setting, a cursor), so that
    nothing is taken back after each, which is a round trip.

    Raises:
        OSError, asyncpg.PostgresError: the database does not answer or refuses.
    """
    return await _pool(dsn, application, 1, size, server_settings, stateless)


async def open_pool_unasked(dsn: str, *, application: str, size: int = 8, **server_settings: str) -> Pool:
    """As :func:`open_pool`, but it opens while the database is away too: each use finds out whether it answers."""
    return await _pool(dsn, application, 0, size, server_settings, stateless=False)


async def _pool(dsn: str, application: str, least: int, most: int, server_settings: Mapping[str, str], stateless: bool) -> Pool:
    settings = {"application_name": application, **server_settings}
    pool: Pool = await asyncpg.create_pool(
        dsn, min_size=least, max_size=most, server_settings=settings, command_timeout=60, reset=_left_alone if stateless else None
    )
    # Asked when it is scraped. Of two pools of one name, the one that was opened last is shown.
    for state, number in {
        "busy": lambda: pool.get_size() - pool.get_idle_size(), "idle": pool.get_idle_size, "most": pool.get_max_size,
    }.items():  # fmt: skip
        meters.CONNECTIONS.labels(application, state).set_function(number)
    return pool


async def _left_alone(_: object) -> None:
    """Instead of taking back what a session was given: a transaction that is open is rolled back all the same."""


async def listen(dsn: str, channel: str, heard: Callable[[], None], listening: Callable[[bool], None], *, application: str) -> None:
    """Calls ``heard`` at each notice on ``channel``, for ever, over a connection of its own.

    ``listening`` is told when notices begin to be heard and when the connection is lost; it is made anew.
    """
    while True:
        with contextlib.suppress(*Unavailable):
            connection = await asyncpg.connect(dsn, server_settings={"application_name": application}, timeout=5)
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _, lost=lost: lost.set())
            try:
                await connection.add_listener(channel, lambda *_: heard())
                listening(True)
                await lost.wait()
            finally:
                listening(False)
                connection.terminate()
        await asyncio.sleep(0.5)


async def prepare(admin_dsn: str, service: str, password: str) -> None:
    """Makes the service's schema and its least-privilege login role, both named ``service``; harmless when they stand."""
    if not service.isidentifier():
        raise ValueError(f"{service!r} cannot name a role and a schema")
    connection = await asyncpg.connect(admin_dsn)
    try:
        if not await connection.fetchval("select 1 from pg_roles where rolname = $1", service):
            await connection.execute(f"create role {service} login")
        # ALTER ROLE takes no parameters, so the server quotes the password for us.
        quoted = await connection.fetchval("select quote_literal($1::text)", password)
        await connection.execute(f"alter role {service} with login password {quoted}")
        await connection.execute(f"alter role {service} set search_path = {service}")
        await connection.execute(f"alter role {service} set jit = off")
        await connection.execute(f"alter role {service} set timezone = 'UTC'")
        await make_schema(connection, service, service)
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def committing(db: Connection) -> AsyncIterator[None]:
    """A transaction of ``db``, as ``db.transaction()`` is, with a span of all of it and one of its commit while it is traced."""
    with tracing.span("transaction"):
        transaction = db.transaction()
        await transaction.start()
        try:
            yield
        except BaseException:
            await transaction.rollback()
            raise
        tracing.committed_soon()
        with tracing.span("commit"):
            await transaction.commit()


async def prepare_reader(admin_dsn: str, service: str, password: str) -> None:
    """Makes the login role ``<service>_reader``, which may select in the service's schema and do nothing else there; harmless
    when it stands. After :func:`prepare`."""
    role = reader_of(service)
    connection = await asyncpg.connect(admin_dsn)
    try:
        if not await connection.fetchval("select 1 from pg_roles where rolname = $1", role):
            await connection.execute(f"create role {role} login")
        quoted = await connection.fetchval("select quote_literal($1::text)", password)
        await connection.execute(f"alter role {role} with login password {quoted}")
        for setting in (f"search_path = {service}", "jit = off", "timezone = 'UTC'", "default_transaction_read_only = on"):
            await connection.execute(f"alter role {role} set {setting}")
        await grant_reading(connection, service, role)
    finally:
        await connection.close()


def reader_of(service: str) -> str:
    """The name of the role that may only read what the service keeps."""
    if not service.isidentifier():
        raise ValueError(f"{service!r} cannot name a role and a schema")
    return f"{service}_reader"


async def make_schema(db: Connection, schema: str, role: str) -> None:
    """Makes ``schema`` with what ``role`` may do in it: read and write rows, no more; harmless when it stands. Where ``role`` has
    a reader (:func:`prepare_reader`), that one may read there."""
    await db.execute(f"create schema if not exists {schema}")
    await db.execute(f"grant usage on schema {schema} to {role}")
    await db.execute(f"alter default privileges in schema {schema} grant select, insert, update, delete on tables to {role}")
    await db.execute(f"alter default privileges in schema {schema} grant usage on sequences to {role}")
    if await db.fetchval("select 1 from pg_roles where rolname = $1", reader_of(role)):
        await grant_reading(db, schema, reader_of(role))


async def grant_reading(db: Connection, schema: str, role: str) -> None:
    """Lets ``role`` select from what is and what will be in ``schema``."""
    await db.execute(f"grant usage on schema {schema} to {role}")
    await db.execute(f"grant select on all tables in schema {schema} to {role}")
    await db.execute(f"alter default privileges in schema {schema} grant select on tables to {role}")


async def migrate(admin_dsn: str, service: str, files: Sequence[Path]) -> list[str]:
    """Runs those of ``files`` that the schema has not had, in order, each in a transaction; returns their names.

    Raises:
        MigrationError: a file is misnamed, or one that ran has changed since.
    """
    files = sorted(files)
    for file in files:
        if not _NUMBERED.match(file.name):
            raise MigrationError(f"{file.name}: name it NNNN_what_it_does.sql")
    connection = await asyncpg.connect(admin_dsn)
    done: list[str] = []
    try:
        await connection.execute(f"set search_path = {service}")
        # Two starts at once must not run one migration twice.
        await connection.execute("select pg_advisory_lock(hashtext($1))", f"migrate {service}")
        await connection.execute(
            "create table if not exists migrations"
            " (name text primary key, body text not null, ran_at timestamptz not null default now())"
        )
        ran = {row["name"]: row["body"] for row in await connection.fetch("select name, body from migrations")}
        for file in files:
            body = file.read_text(encoding="utf-8")
            if file.name in ran:
                if ran[file.name] != body:
                    raise MigrationError(f"{file.name} has changed since it ran: undo the change and add a new migration")
                continue
            async with connection.transaction():
                await connection.execute(body)
                await connection.execute("insert into migrations (name, body) values ($1, $2)", file.name, body)
            done.append(file.name)
    finally:
        await connection.close()
    return done


async def migrate_service(
    admin_dsn: str, service_dsn: str, service: str, files: Sequence[Path], reader_dsn: str | None = None
) -> list[str]:
    """Makes the service's schema and role (with the password of ``service_dsn``), and with ``reader_dsn`` the role that may only
    read, then migrates; returns what ran.

    Raises:
        MigrationError: see :func:`migrate`.
        ValueError: ``reader_dsn`` is of another role than ``<service>_reader``.
    """
    if reader_dsn is not None and urlsplit(reader_dsn).username != reader_of(service):
        raise ValueError(f"the role that may only read is {reader_of(service)}: let the reader's DSN name it")
    await prepare(admin_dsn, service, unquote(urlsplit(service_dsn).password or ""))
    if reader_dsn is not None:
        await prepare_reader(admin_dsn, service, unquote(urlsplit(reader_dsn).password or ""))
    return await migrate(admin_dsn, service, files)
