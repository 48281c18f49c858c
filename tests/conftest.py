"""A real Kafka and a real PostgreSQL for the whole run, started once by pytest's controller and removed with it."""

import asyncio
import base64
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
import structlog

from deploy.local.broker import Broker, ensure_jars
from deploy.local.database import Database
from deploy.local.parts import LOOPBACK, ROOT, Part, StackError, free_ports, start, stop, until_ready
from deploy.local.service import METRICS_READER, STORED, Needs, Process, Service, environment, service_part
from deploy.local.topics import create_topics, delete_topics
from services.metrics.http import standing
from shared.kafka import Topics
from shared.postgres import migrate, prepare, prepare_reader
from shared.receipts import new_key

KAFKA = "ONETHING_TEST_KAFKA"
"""``host:port`` of a running broker to use instead of an own one; also how pytest-xdist's workers learn of ours."""
POSTGRES = "ONETHING_TEST_POSTGRES"
"""Likewise a superuser's DSN without a database, e.g. ``postgresql://admin:secret@127.0.0.1:5432``."""
TEMPLATE = "ONETHING_TEST_TEMPLATE"
"""Name of the migrated database that each test's own is copied from; set by the controller."""

PASSWORD = "of-the-services-in-tests"  # guards empty databases on the loopback, for the length of a run
START_SECONDS = 90.0


def pytest_configure(config: pytest.Config) -> None:
    """Starts both, side by side; a failure fails the run, for a test that is skipped proves nothing."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    # Ended from outside, a run tidies up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack = contextlib.ExitStack()
    config.add_cleanup(stack.close)
    try:
        _start_both(stack)
    except StackError as error:
        stack.close()
        pytest.exit(f"Kafka and PostgreSQL for the tests did not start: {error}", returncode=1)


def _start_both(stack: contextlib.ExitStack) -> None:
    folder = Path(tempfile.mkdtemp(prefix="onething-tests-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o711)  # PostgreSQL's user passes through
    ports = free_ports()
    makers: list[Callable[[], Part]] = []
    if KAFKA not in os.environ:
        broker = Broker(folder / "kafka", next(ports), next(ports))
        _export(stack, KAFKA, broker.address)

        def make_broker() -> Part:
            ensure_jars()
            broker.prepare()
            return broker.part(folder / "kafka.log")

        makers.append(make_broker)
    if POSTGRES not in os.environ:
        database = Database(folder / "postgres", next(ports), secrets.token_hex(16), durable=False)
        _export(stack, POSTGRES, database.admin_dsn("").removesuffix("/"))

        def make_database() -> Part:
            database.prepare()
            return database.part(folder / "postgres.log")

        makers.append(make_database)
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda make: make(), makers))
    running = []
    for part in parts:
        process = start(part)
        stack.callback(stop, process, part.stop_signal, part.stop_seconds)
        running.append((part, process))

    async def wait() -> None:
        await asyncio.gather(*(until_ready(part, process, START_SECONDS) for part, process in running))

    asyncio.run(wait())
    _export(stack, TEMPLATE, f"onething_template_{uuid.uuid4().hex[:8]}")
    stack.callback(lambda: asyncio.run(_statement(f'drop database if exists "{os.environ[TEMPLATE]}"')))
    asyncio.run(_make_template())


def _export(stack: contextlib.ExitStack, name: str, value: str) -> None:
    os.environ[name] = value
    stack.callback(os.environ.pop, name, None)


async def _statement(statement: str) -> None:
    connection = await asyncpg.connect(f"{os.environ[POSTGRES]}/postgres")
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _make_template() -> None:
    await _statement(f'create database "{os.environ[TEMPLATE]}"')
    dsn = f"{os.environ[POSTGRES]}/{os.environ[TEMPLATE]}"
    for service in STORED:
        await prepare(dsn, service, PASSWORD)
        if service == "metrics":
            await prepare_reader(dsn, service, PASSWORD)
        await migrate(dsn, service, sorted((ROOT / "services" / service / "migrations").glob("*.sql")))


@pytest.fixture(autouse=True)
def _no_logging_of_a_process() -> Iterator[None]:
    """A process sets up logging once, for good. In ours it would write to a stream of the test that did it, long closed, and the
    tests after it would never see a line: what sets up logging runs in a process of its own."""
    handlers = logging.getLogger().handlers[:]
    yield
    assert not structlog.is_configured(), "structlog was set up in the tests' own process"
    assert logging.getLogger().handlers == handlers, "the root logger's handlers were replaced in the tests' own process"


@pytest.fixture
def asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The api of metrics answers every question from the database. For tests that write there themselves and ask at once: an answer
    stands until the api has heard of the write, some milliseconds later (``test_metrics_standing.py``)."""
    monkeypatch.setattr(standing, "MOST_SECONDS", -1.0)


@pytest.fixture(scope="session")
def kafka() -> str:
    """``host:port`` of the broker."""
    return os.environ[KAFKA]


@pytest.fixture
async def topics(kafka: str) -> AsyncIterator[Topics]:
    """The six topics under a prefix of this test's own."""
    own = Topics(f"t{uuid.uuid4().hex[:10]}")
    await create_topics(kafka, own.specs())
    yield own
    await delete_topics(kafka, [spec.name for spec in own.specs()])


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """A migrated database of one test. ``admin_dsn`` is the superuser's."""

    __test__ = False

    admin_dsn: str

    def dsn(self, service: str) -> str:
        """The DSN of the service's least-privilege role, or of another role of ours."""
        address = self.admin_dsn.rpartition("@")[2]
        return f"postgresql://{service}:{PASSWORD}@{address}"


@pytest.fixture
async def database() -> AsyncIterator[TestDatabase]:
    """A fresh database with the schemas and roles of all services, migrated."""
    name = f"t{uuid.uuid4().hex[:12]}"
    await _statement(f'create database "{name}" template "{os.environ[TEMPLATE]}"')
    yield TestDatabase(f"{os.environ[POSTGRES]}/{name}")
    await _statement(f'drop database if exists "{name}" with (force)')


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the parties of a test present: secrets by sender and by company, and metrics' tokens."""

    senders: dict[str, str]
    companies: dict[str, str]
    reader_token: str
    operator_token: str
    senders_file: Path
    companies_file: Path
    receipt_key_file: Path
    digest_key_file: Path


def _secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    """The sender ``hebei-onething`` and the companies ``water-1``, ``gas-1``, ``power-1``, with files as the services read them."""
    made = Credentials(
        senders={"hebei-onething": _secret()},
        companies={company: _secret() for company in ("water-1", "gas-1", "power-1")},
        reader_token=secrets.token_urlsafe(24),
        operator_token=secrets.token_urlsafe(24),
        senders_file=tmp_path / "senders.json",
        companies_file=tmp_path / "companies.json",
        receipt_key_file=tmp_path / "receipt.pem",
        digest_key_file=tmp_path / "digest.key",
    )
    made.receipt_key_file.write_bytes(new_key())
    made.digest_key_file.write_text(secrets.token_hex(32))
    senders = {name: {"source": "urn:onething:province:hebei", "secrets": [secret]} for name, secret in made.senders.items()}
    made.senders_file.write_text(json.dumps(senders))
    made.companies_file.write_text(json.dumps({name: {"secrets": [secret]} for name, secret in made.companies.items()}))
    return made


@dataclass(slots=True)
class RunningService:
    """One service process of a test."""

    part: Part
    url: str
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        assert self._process is not None, "it has not been started"
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has logged, over its restarts."""
        return self.part.log.read_text(encoding="utf-8", errors="replace")

    def launch(self) -> None:
        """Starts the process, without waiting for readiness."""
        self._process = start(self.part)

    async def ready(self, seconds: float = 30.0) -> None:
        """Waits for ``/readyz``; fails the test when the process ends or is late, with the end of its log."""
        assert self._process is not None, "it has not been started"
        await until_ready(self.part, self._process, seconds)

    def kill(self) -> None:
        """SIGKILL: as a crash, nothing is tidied up."""
        self._end(signal.SIGKILL)

    def terminate(self) -> bool:
        """SIGTERM, as a supervisor stops it. Gives whether it ended by itself within 20 s."""
        return self._end(signal.SIGTERM)

    async def restart(self) -> None:
        """Starts it again, after a kill or a terminate, and waits for readiness."""
        self.terminate()
        self.launch()
        await self.ready()

    def _end(self, how: signal.Signals) -> bool:
        return self._process is None or stop(self._process, how, self.part.stop_seconds)


class Services:
    """The factory that the fixture ``service`` gives; what it started ends with the test."""

    def __init__(self, needs: Needs, folder: Path) -> None:
        self._needs = needs
        self._folder = folder
        self._ports = free_ports()
        self.started: list[RunningService] = []

    async def __call__(self, name: Service, process: Process, **variables: str) -> RunningService:
        """Starts ``python -m services.<name>.main <process>`` on a free port and waits for readiness."""
        port = next(self._ports)
        log = self._folder / f"{name}-{process}-{len(self.started)}.log"
        part = service_part(name, process, port, log, environment(name, port, self._needs) | variables)
        running = RunningService(part, f"http://{LOOPBACK}:{port}")
        self.started.append(running)
        running.launch()
        await running.ready()
        return running


@pytest.fixture
def service(kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials, tmp_path: Path) -> Iterator[Services]:
    """``await service("metrics", "worker", ONETHING_X="…")`` runs that real process on this test's topics and database."""
    needs = Needs(
        kafka=kafka,
        topic_prefix=topics.prefix,
        dsns={name: database.dsn(name) for name in STORED},
        reader_dsn=database.dsn(METRICS_READER),
        senders_file=credentials.senders_file,
        companies_file=credentials.companies_file,
        reader_token=credentials.reader_token,
        operator_token=credentials.operator_token,
        receipt_key_file=credentials.receipt_key_file,
        digest_key_file=credentials.digest_key_file,
    )
    services = Services(needs, tmp_path)
    yield services
    for running in services.started:
        running.terminate()
