"""PostgreSQL that dies during commits, in each way it can, and comes again. A server of this module's own, as durable as in
production.

What may be observed: the worker goes on by itself within seconds; what the crash took back is counted again; each case counts
once.
"""

import asyncio
import os
import random
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.database import Database
from deploy.local.parts import ROOT, Part, free_ports, start, stop, until_ready
from shared import postgres
from tests import load
from tests.conftest import PASSWORD, TestDatabase
from tests.guarantees.scene import Measured, Scene, moments
from tests.metrics_support import until
from tests.oracle import Event


class Server:
    """The PostgreSQL of one test, which may be killed and started again."""

    def __init__(self, database: Database, log: Path) -> None:
        self.database = database
        self._part: Part = database.part(log)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        if self._part.before_restart:
            await asyncio.to_thread(self._part.before_restart)
        self._process = start(self._part)
        await until_ready(self._part, self._process, 60)

    def end(self, how: signal.Signals) -> None:
        if self._process is not None:
            stop(self._process, how, 20)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own folder for temporary files: PostgreSQL's user could not pass through that."""
    made = Path(tempfile.mkdtemp(prefix="onething-tests-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest_asyncio.fixture
async def server(folder: Path) -> AsyncIterator[Server]:
    database = Database(folder / "postgres", next(free_ports()), secrets.token_hex(16))
    await asyncio.to_thread(database.prepare)
    running = Server(database, folder / "postgres.log")
    await running.start()
    yield running
    running.end(signal.SIGINT)


@pytest_asyncio.fixture
async def database(server: Server) -> TestDatabase:
    """Takes the place of the shared server's database in this module."""
    await server.database.ensure("onething")
    dsn = server.database.admin_dsn()
    for service in ("metrics", "utilities"):
        await postgres.prepare(dsn, service, PASSWORD)
        await postgres.migrate(dsn, service, sorted((ROOT / "services" / service / "migrations").glob("*.sql")))
    return TestDatabase(dsn)


async def _one_backend_is_killed(scene: Scene, server: Server) -> None:
    """The server ends all sessions and recovers by itself."""
    rows = await scene.query("select pid from pg_stat_activity where application_name = 'metrics-worker'")
    os.kill(rows[0]["pid"], signal.SIGKILL)
    await asyncio.sleep(0.2)
    await until(server.database.answers)


async def _shut_down_at_once(scene: Scene, server: Server) -> None:
    server.end(signal.SIGQUIT)
    await server.start()


async def _killed(scene: Scene, server: Server) -> None:
    server.end(signal.SIGKILL)
    await server.start()


async def test_a_database_that_dies_during_commits_is_counted_on_from_where_it_is(
    scene: Scene, server: Server, measured: Measured
) -> None:
    draw = random.Random(41)
    told: list[Event] = []
    sent = 0
    await scene.worker(BATCH_RECORDS="50")
    for seed, happens in enumerate((_one_backend_is_killed, _shut_down_at_once, _killed, _one_backend_is_killed), start=41):
        distinct, arriving = load.season(seed, cases=600)
        told += distinct
        goal, delay = moments(draw, len(arriving))
        sending = asyncio.create_task(scene.send(arriving))
        await scene.until_taken(sent + goal)
        await asyncio.sleep(delay)
        await happens(scene, server)
        back = time.monotonic()
        await sending
        sent += len(arriving)
        left = await scene.taken()
        await scene.until_taken(min(left + 1, sent))
        measured(f"counting went on after PostgreSQL came back ({happens.__name__.strip('_')})", time.monotonic() - back)
        await scene.until_taken(sent)
        await scene.exact(told)
