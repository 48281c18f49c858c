"""The whole stack of CONTRACT §1: Kafka, PostgreSQL and the six service processes, in the order in which they need one another."""

import asyncio
import contextlib
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiokafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape

from deploy.local.acls import bring_about, read_users
from deploy.local.broker import Broker, ensure_jars
from deploy.local.database import Database, binaries
from deploy.local.parts import LOOPBACK, ROOT, Part, StackError, port_is_free
from deploy.local.service import METRICS_READER, SERVICES, STORED, Needs, Process, Service, environment, service_part
from deploy.local.state import (
    SANDBOX,
    SANDBOX_SOURCE,
    SENDER,
    SENDER_SOURCE,
    Secrets,
    State,
    held,
    registry_companies,
    write_private,
)
from deploy.local.supervise import Supervisor
from deploy.local.topics import create_topics
from shared.kafka import Topics
from shared.postgres import MigrationError, Unavailable, migrate_service

REGISTRY: Final = ROOT / "deploy/local/sample/registry.csv"
PROCESSES: Final[tuple[tuple[Service, Process], ...]] = tuple((s, p) for s in SERVICES for p in ("api", "worker"))

REFUSALS: Final[tuple[type[Exception], ...]] = (KafkaError, MigrationError, *Unavailable)
"""What Kafka and PostgreSQL raise when they do not do as asked."""

Endpoints = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of CONTRACT §1, counted from ``base``."""

    base: int

    def of(self, service: Service, process: Process) -> int:
        """An api is +1 to +3, its worker's health ten above it."""
        return self.base + SERVICES.index(service) + (1 if process == "api" else 11)

    @property
    def kafka(self) -> int:
        return self.base + 4

    @property
    def controller(self) -> int:
        return self.base + 5

    @property
    def postgres(self) -> int:
        return self.base + 6

    @property
    def sasl(self) -> int:
        return self.base + 14

    def all(self) -> dict[int, str]:
        """Each port with the part that listens there."""
        own = {self.kafka: "kafka", self.controller: "kafka's controller", self.sasl: "kafka for users", self.postgres: "postgres"}
        return own | {self.of(service, process): f"{service} {process}" for service, process in PROCESSES}

    def refuse_taken(self) -> None:
        """Raises a :class:`StackError` that names each taken port and what it is for."""
        if not 1024 <= self.base <= 65_500:
            raise StackError(f"ONETHING_PORT_BASE is {self.base}: choose one from 1024 to 65500.")
        taken = [f"{port} ({part})" for port, part in sorted(self.all().items()) if not port_is_free(port)]
        if taken:
            ports = "port " + taken[0] if len(taken) == 1 else "ports " + ", ".join(taken)
            raise StackError(f"{ports} in use by another program: stop it, or set ONETHING_PORT_BASE (now {self.base}) to another.")


@contextlib.asynccontextmanager
async def running(folder: Path, ports: Ports, console: Console) -> AsyncIterator[Endpoints]:
    """The stack, ready and supervised inside, stopped after; gives what ``endpoints.json`` holds meanwhile.

    Raises:
        StackError: it cannot be started; the message says what to do.
    """
    begun = time.monotonic()
    if shutil.which("java") is None:
        raise StackError(
            "java is missing, which Kafka runs on: install a runtime of 17 or newer (package openjdk-17-jre-headless)."
        )
    binaries()

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    with held(folder) as state:
        ports.refuse_taken()
        secrets = Secrets.of(state, registry_companies(REGISTRY))
        supervisor = Supervisor(say)
        try:
            endpoints = await _start(state, ports, secrets, supervisor)
            say(f"[bold]ready in {time.monotonic() - begun:.1f} s[/bold] · {state.endpoints} · logs in {folder / 'logs'}")
            yield endpoints
        finally:
            state.endpoints.unlink(missing_ok=True)
            say("stopping …")
            stopping = asyncio.ensure_future(supervisor.stop([[f"{service} {process}" for service, process in PROCESSES]]))
            while not stopping.done():
                # A signal while we stop must not leave a part behind.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.shield(stopping)
            say("stopped")


async def _start(state: State, ports: Ports, secrets: Secrets, supervisor: Supervisor) -> Endpoints:
    broker = Broker(state.kafka, ports.kafka, ports.controller, ports.sasl)
    database = Database(state.postgres, ports.postgres, secrets.postgres["admin"])
    needs = Needs(
        kafka=broker.address,
        topic_prefix=Topics().prefix,
        dsns={service: database.dsn(service, secrets.postgres[service]) for service in STORED},
        senders_file=state.senders,
        companies_file=state.companies,
        reader_token=secrets.reader_token,
        operator_token=secrets.operator_token,
        receipt_key_file=state.receipt_key,
        digest_key_file=state.digest_key,
        metrics_url=f"http://{LOOPBACK}:{ports.of('metrics', 'api')}",
        reader_dsn=database.dsn(METRICS_READER, secrets.postgres[METRICS_READER]),
        readers_file=state.readers,
    )

    async def kafka() -> None:
        await asyncio.to_thread(ensure_jars)
        await asyncio.to_thread(broker.prepare)
        await supervisor.start(broker.part(state.log("kafka")))
        with _explained("kafka's topics could not be made", state.log("kafka")):
            await create_topics(broker.address, Topics().specs())
            await bring_about(broker.address, read_users(), [Topics().prefix], apply=True, passwords=secrets.kafka)

    async def postgres() -> None:
        await asyncio.to_thread(database.prepare)
        await supervisor.start(database.part(state.log("postgres")))
        with _explained("the database could not be brought up to date", state.log("postgres")):
            await database.ensure("onething")
            for service in STORED:
                migrations = list((ROOT / f"services/{service}/migrations").glob("*.sql"))
                reader = needs.reader_dsn if service == "metrics" else None
                await migrate_service(database.admin_dsn(), needs.dsns[service], service, migrations, reader)
        await _import_registry(state, environment("utilities", 0, needs))

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(kafka())
            group.create_task(postgres())
    except* StackError as errors:
        raise _first(errors) from None
    await supervisor.start(*(_service(state, ports, needs, service, process) for service, process in PROCESSES))
    endpoints = _endpoints(ports, secrets, broker, database.admin_dsn(), needs)
    write_private(state.endpoints, endpoints)
    return endpoints


def _first(errors: BaseExceptionGroup[StackError]) -> StackError:
    first = errors.exceptions[0]
    return first if isinstance(first, StackError) else _first(first)


def _service(state: State, ports: Ports, needs: Needs, service: Service, process: Process) -> Part:
    port = ports.of(service, process)
    return service_part(service, process, port, state.log(f"{service} {process}"), environment(service, port, needs))


@contextlib.contextmanager
def _explained(what: str, log: Path) -> Iterator[None]:
    """Turns what a client raises into a sentence that names the log to read."""
    try:
        yield
    except REFUSALS as error:
        raise StackError(f"{what}: {type(error).__name__} {error}. See {log}, or remove the state folder to begin anew.") from None


async def _import_registry(state: State, variables: dict[str, str]) -> None:
    """Gives utilities the sample registry, once for each of its contents."""
    digest = hashlib.sha256(REGISTRY.read_bytes()).hexdigest()
    if state.registry_stamp.exists() and state.registry_stamp.read_text() == digest:
        return
    command = [sys.executable, "-m", "services.utilities.main", "import-registry", str(REGISTRY)]
    run = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=variables, capture_output=True, text=True)
    if run.returncode:
        raise StackError(f"the sample registry {REGISTRY} was not taken:\n{run.stdout[-1500:]}{run.stderr[-1500:]}")
    state.registry_stamp.write_text(digest)


def _endpoints(ports: Ports, secrets: Secrets, broker: Broker, postgres: str, needs: Needs) -> Endpoints:
    urls: Endpoints = {service: f"http://{LOOPBACK}:{ports.of(service, 'api')}" for service in SERVICES}
    return {
        **urls,
        "kafka": broker.address,
        "kafka_sasl": broker.sasl_address,
        "kafka_users": {user: {"password": password} for user, password in secrets.kafka.items()},
        "postgres": postgres,
        "postgres_reader": needs.reader_dsn,
        "senders": {
            SENDER: {"secret": secrets.sender, "source": SENDER_SOURCE},
            SANDBOX: {"secret": secrets.sandbox, "source": SANDBOX_SOURCE},
        },
        "companies": {company: {"secret": secret} for company, secret in secrets.companies.items()},
        "reader_token": secrets.reader_token,
        "operator_token": secrets.operator_token,
    }


def shown(error: StackError) -> str:
    """The error as rich markup."""
    return f"[red]✗[/red] {escape(str(error))}"
