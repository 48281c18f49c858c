"""One broker and one database of a run's own, on free ports, in a folder that is removed at the end."""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson

from benchmarks.rival import GIVEN
from deploy.local.broker import Broker, ensure_jars
from deploy.local.database import Database
from deploy.local.parts import LOOPBACK, ROOT, Part, base_environment, ending, free_ports, start, stop, tail, until_ready
from deploy.local.service import Needs, Process, environment, service_part
from deploy.local.topics import create_topics
from shared.kafka import Topics
from shared.postgres import migrate_service

START_SECONDS: Final = 90.0
_MIGRATIONS: Final = ROOT / "services/metrics/migrations"


class BenchError(Exception):
    """The run cannot go on, or measured something that is wrong. The message says what."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service process that was started."""

    part: Part
    process: subprocess.Popen[bytes]
    url: str

    @property
    def pid(self) -> int:
        return self.process.pid

    def refuse_dead(self) -> None:
        """Raises a :class:`BenchError` with the end of its log when the process has ended."""
        if self.process.poll() is not None:
            raise BenchError(f"{self.part.name} ended with {ending(self.process)}; its log ends:\n{tail(self.part.log)}")

    async def ready(self) -> None:
        """Waits until it answers as ready."""
        await until_ready(self.part, self.process, START_SECONDS)


@dataclass(frozen=True, slots=True)
class Rival:
    """A process of this package that says what it measured, as its last line."""

    part: Part
    process: subprocess.Popen[bytes]

    async def begun(self, word: str, seconds: float) -> None:
        """Waits until it has said ``word``.

        Raises:
            BenchError: it has not within ``seconds``, or ended.
        """
        deadline = time.monotonic() + seconds
        while word.encode() not in self.part.log.read_bytes():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.part.name} did not begin; its log ends:\n{tail(self.part.log)}")
            await asyncio.sleep(0.02)

    async def said(self, seconds: float) -> dict[str, Any]:
        """What it says, as JSON, when it has ended.

        Raises:
            BenchError: it failed, or took longer than ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise BenchError(f"{self.part.name} was not done within {seconds:.0f} s; its log ends:\n{tail(self.part.log)}")
            await asyncio.sleep(0.05)
        if self.process.returncode:
            raise BenchError(f"{self.part.name} failed; its log ends:\n{tail(self.part.log)}")
        said: dict[str, Any] = orjson.loads(self.part.log.read_bytes().splitlines()[-1])
        return said

    async def ended(self, seconds: float) -> dict[str, Any]:
        """Tells it to end; returns what it then says. Raises as :meth:`said`."""
        if self.process.poll() is None:
            self.process.terminate()
        return await self.said(seconds)


@dataclass
class Stage:
    """What the parts of a run share."""

    folder: Path
    broker: Broker
    database: Database
    kafka_pid: int
    postgres_pid: int
    ports: Iterator[int]
    reader_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    metrics_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def servers(self) -> dict[str, int]:
        return {"postgres": self.postgres_pid, "kafka": self.kafka_pid}

    @contextlib.asynccontextmanager
    async def fresh_database(self, name: str) -> AsyncIterator[str]:
        """An empty database, dropped at the end; gives the administrator's DSN. What ran before leaves it no work to do."""
        await self._statement("checkpoint")
        await self._statement(f'create database "{name}"')
        try:
            yield self.database.admin_dsn(name)
        finally:
            await self._statement(f'drop database if exists "{name}" with (force)')

    async def _statement(self, statement: str) -> None:
        connection = await asyncpg.connect(self.database.admin_dsn("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def migrate(self, name: str) -> None:
        """Makes metrics' schema and role in the database ``name``."""
        files = list(_MIGRATIONS.glob("*.sql"))
        await migrate_service(self.database.admin_dsn(name), self._metrics_dsn(name), "metrics", files)

    async def make_topics(self, prefix: str) -> Topics:
        topics = Topics(prefix)
        await create_topics(self.broker.address, topics.specs())
        return topics

    @contextlib.asynccontextmanager
    async def metrics(self, process: Process, database: str, topics: Topics, **settings: str) -> AsyncIterator[Running]:
        """``python -m services.metrics.main <process>``, the real one, just started; ``settings`` are further variables."""
        port = next(self.ports)
        nowhere = self.folder / "none"
        needs = Needs(
            kafka=self.broker.address, topic_prefix=topics.prefix, dsns={"metrics": self._metrics_dsn(database)},
            senders_file=nowhere, companies_file=nowhere, reader_token=self.reader_token, operator_token="",
        )  # fmt: skip
        log = self.folder / f"metrics-{process}-{topics.prefix}.log"
        variables = environment("metrics", port, needs) | {"ONETHING_READS_PER_SECOND": "0"} | settings  # one reader asks for many
        part = service_part("metrics", process, port, log, variables)
        async with started(part) as popen:
            yield Running(part, popen, f"http://{LOOPBACK}:{port}")

    async def measured(self, module: str, given: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Runs ``python -m benchmarks.<module>``, which is told ``given`` by its environment; returns what it says, as JSON.

        Raises:
            BenchError: it failed, or took longer than ``seconds``.
        """
        async with self.running(module, given) as rival:
            return await rival.said(seconds)

    @contextlib.asynccontextmanager
    async def running(self, module: str, given: dict[str, Any]) -> AsyncIterator["Rival"]:
        """``python -m benchmarks.<module>``, just started."""

        async def never() -> bool:
            return False

        log = self.folder / f"{module}-{secrets.token_hex(4)}.log"
        variables = base_environment() | {GIVEN: orjson.dumps(given).decode()}
        part = Part(f"benchmarks.{module}", (sys.executable, "-m", f"benchmarks.{module}"), log, never, variables, stop_seconds=5)
        async with started(part) as process:
            yield Rival(part, process)

    def _metrics_dsn(self, database: str) -> str:
        return self.database.dsn("metrics", self.metrics_password, database)


@contextlib.asynccontextmanager
async def started(part: Part) -> AsyncIterator[subprocess.Popen[bytes]]:
    """The part's process, just started; stopped at the end."""
    process = start(part)
    try:
        yield process
    finally:
        await asyncio.to_thread(stop, process, part.stop_signal, part.stop_seconds)


@contextlib.asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Both servers, with the settings of the local stack: durable.

    Raises:
        StackError: one of them does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="onething-bench-"))
    os.chmod(folder, 0o711)  # PostgreSQL's user passes through
    try:
        ports = free_ports()
        broker = Broker(folder / "kafka", next(ports), next(ports))
        database = Database(folder / "postgres", next(ports), secrets.token_hex(16))
        await asyncio.to_thread(ensure_jars)
        await asyncio.gather(asyncio.to_thread(broker.prepare), asyncio.to_thread(database.prepare))
        parts = database.part(folder / "postgres.log"), broker.part(folder / "kafka.log")
        async with started(parts[0]) as postgres, started(parts[1]) as kafka:
            await asyncio.gather(until_ready(parts[0], postgres, START_SECONDS), until_ready(parts[1], kafka, START_SECONDS))
            yield Stage(folder, broker, database, kafka.pid, postgres.pid, ports)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
