"""A season on its way into the figures: real workers, a real Kafka, a real PostgreSQL, and what is held at the end.

Every test of the counting ends with :meth:`Scene.exact`: nothing lost, nothing twice, no drift.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from pydantic import SecretStr

from services.metrics.main import build_api
from services.metrics.settings import Settings
from shared.kafka import KafkaUnavailable, Message, Publisher, Topics
from shared.postgres import Unavailable
from tests import oracle
from tests.conftest import RunningService, Services, TestDatabase
from tests.metrics_support import counted, until
from tests.oracle import Event

Measured = Callable[[str, float], None]
"""Takes a sentence and the seconds that it took; the run's summary shows them."""


class Scene:
    """One test's topics and database, and the workers between them."""

    def __init__(self, kafka: str, topics: Topics, database: TestDatabase, services: Services) -> None:
        self.kafka = kafka
        self.topics = topics
        self.database = database
        self._services = services
        self._groups = 0

    @property
    def group(self) -> str:
        """This test's own consumer group."""
        return self.topics.prefix

    async def worker(self, **variables: str) -> RunningService:
        """Starts a member of this test's group; settings by name, in capitals."""
        return await self._services("metrics", "worker", **{"ONETHING_GROUP": self.group} | _named(variables))

    async def worker_of_its_own(self, **variables: str) -> RunningService:
        """Starts a worker in a group of its own: it takes every partition at once, and knows of no other worker."""
        self._groups += 1
        return await self.worker(GROUP=f"{self.group}-{self._groups}", **variables)

    async def send(self, events: Sequence[Event], *, topic: str | None = None, pace: float = 0.0) -> None:
        """Publishes as intake does, in batches: what is not known to be stored is sent again.

        ``pace`` is the seconds between two batches of 100 events; without it batches are as large as they get.
        """
        step = 100 if pace else 2000
        async with Publisher(self.kafka, client_id="test", timeout_seconds=10) as publisher:
            for start in range(0, len(events), step):
                messages = [
                    Message(topic or self.topics.case_events, e["subject"], orjson.dumps(e)) for e in events[start : start + step]
                ]
                while True:
                    try:
                        await publisher.publish(messages)
                        break
                    except KafkaUnavailable:
                        await asyncio.sleep(0.2)
                await asyncio.sleep(pace)

    async def query(self, statement: str, *arguments: Any) -> list[Any]:
        """Rows of a statement in the schema ``metrics``, as the superuser, on a connection of its own."""
        connection = await asyncpg.connect(self.database.admin_dsn, server_settings={"search_path": "metrics"}, timeout=5)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def positions(self) -> dict[int, int]:
        """The next offset wanted of each partition of the case events."""
        rows = await self.query("select partition, next_offset from offsets where topic = $1", self.topics.case_events)
        return {row["partition"]: row["next_offset"] for row in rows}

    async def taken(self) -> int:
        """How far the partitions are, together."""
        return sum((await self.positions()).values())

    async def until_taken(self, records: int, seconds: float = 60.0) -> float:
        """Waits until so many records are counted, also while the database comes and goes; gives how long it took."""

        async def so_many() -> bool:
            try:
                return await self.taken() >= records
            except Unavailable:
                return False

        return await until(so_many, seconds)

    async def until_all_taken(self, seconds: float = 60.0) -> None:
        """Waits until every record that is in the topic is counted."""
        await self.until_taken(await self.stored(), seconds)

    async def stored(self) -> int:
        """How many records the topic has taken, since it was made."""
        return sum((await self.ends()).values())

    async def ends(self) -> dict[TopicPartition, int]:
        """Where each partition of the case events ends."""
        async with AIOKafkaConsumer(bootstrap_servers=self.kafka) as consumer:
            partitions = [TopicPartition(self.topics.case_events, n) for n in range(8)]
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            return ends

    async def exact(self, distinct: Sequence[Event]) -> None:
        """Holds every figure against the oracle, the number of cases, and the service's own recount."""
        assert await counted(self.database.admin_dsn) == oracle.count(distinct)
        cases = await self.query("select count(*) as n from cases")
        assert cases[0]["n"] == len({(event["source"], event["data"]["case_no"]) for event in distinct})
        settings = Settings(postgres_dsn=SecretStr(self.database.dsn("metrics")), reader_token=SecretStr("reader"))
        app = build_api(settings)
        async with app.router.lifespan_context(app):
            transport, headers = httpx.ASGITransport(app), {"Authorization": "Bearer reader"}
            async with httpx.AsyncClient(transport=transport, base_url="http://metrics", headers=headers) as client:
                answer = (await client.get("/v1/consistency")).json()
        assert (answer["checked"], answer["drift"]) == (cases[0]["n"], [])

    async def records(self, topic: str) -> list[ConsumerRecord[bytes | None, bytes | None]]:
        """Every record of a topic that is at rest."""
        async with AIOKafkaConsumer(bootstrap_servers=self.kafka, auto_offset_reset="earliest") as consumer:
            partitions = [TopicPartition(topic, number) for number in range(8)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            found: list[ConsumerRecord[bytes | None, bytes | None]] = []
            for partition in partitions:
                while await consumer.position(partition) < ends[partition]:
                    for records in (await consumer.getmany(partition, timeout_ms=200)).values():
                        found += records
            return found


def _named(variables: dict[str, str]) -> dict[str, str]:
    return {f"ONETHING_{name}": value for name, value in variables.items()}


def moments(draw: random.Random, records: int) -> tuple[int, float]:
    """A moment within a load of ``records``: so many counted, and so many seconds later."""
    return draw.randrange(records * 4 // 5), draw.random() * 0.05


async def metric(worker: RunningService, name: str, label: str = "") -> float:
    """The sum of a metric of the worker over its labels; with ``label``, e.g. ``error="Fenced"``, of the series that have it."""
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        lines = (await client.get(f"{worker.url}/metrics")).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")) and label in line)


async def wrong(worker: RunningService) -> dict[str, str]:
    """What ``/readyz`` says is wrong, by part; empty when it is ready."""
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.get(f"{worker.url}/readyz")
    found: dict[str, str] = answer.json()["wrong"]
    assert answer.status_code == (503 if found else 200)
    return found


async def until_halted(worker: RunningService, seconds: float = 60.0) -> str:
    """Waits until the worker says that it does not go on; gives its sentence."""
    said: list[str] = []

    async def halted() -> bool:
        with contextlib.suppress(httpx.TransportError):  # it may still be starting
            said[:] = [text for text in (await wrong(worker)).values() if "/" in text]
        return bool(said)

    await until(halted, seconds)
    return said[0]


@asynccontextmanager
async def admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that manages topics and groups."""
    client = AIOKafkaAdminClient(bootstrap_servers=kafka, request_timeout_ms=20_000)
    try:
        await client.start()
        yield client
    finally:
        await client.close()


async def once(condition: Callable[[], Awaitable[Any]], seconds: float = 30.0) -> Any:
    """Waits until ``condition`` gives something; gives it."""
    found: list[Any] = []

    async def given() -> bool:
        found[:] = [await condition()]
        return bool(found[0])

    await until(given, seconds)
    return found[0]
