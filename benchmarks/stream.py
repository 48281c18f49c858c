"""One api process and many clients of ``/v1/stream``: how soon each has every change, and what it costs the process."""

import asyncio
import itertools
import resource
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from benchmarks import machine
from benchmarks.clients import percentiles
from benchmarks.stage import BenchError, Running, Stage, staged
from benchmarks.usage import cpu_seconds, memory_mib
from services.metrics.domain.cases import MEASURES
from services.metrics.kafka.totals import encode
from services.metrics.store.totals import Counter, Total
from shared import counties, items
from shared.kafka import Message, Publisher, Topics

COUNTERS: Final = [Counter(c.code, i.code, m) for c in counties.ROSTER for i in items.CATALOGUE for m in MEASURES]
_EVENT: Final = b"\nevent: county-metric"
LATE_SECONDS: Final = 20.0

Step = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run. ``lazy`` clients, beside the others, never read; the others must not notice."""

    clients: int = 1000
    lazy: int = 50
    rounds: int = 20
    changed: int = 100
    every_seconds: float = 1.0


QUICK: Final = Plan(clients=100, lazy=5, rounds=3)


@dataclass(eq=False)
class Client(asyncio.Protocol):
    """Counts events, and notes when each round was whole. It keeps nothing else."""

    request: bytes
    a_round: int
    events: int = 0
    opened: bool = False
    whole: list[float] = field(default_factory=list)
    _tail: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        self.opened = self.opened or b": follows from" in data
        self.events += data.count(_EVENT)
        self._tail = data[-(len(_EVENT) - 1) :] if not data.endswith(b"\n\n") else b""
        while len(self.whole) < self.events // self.a_round:
            self.whole.append(time.monotonic())


async def run(plan: Plan, step: Step) -> dict[str, Any]:
    """Runs the plan; returns the report.

    Raises:
        BenchError: a client missed an event or saw one too many.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and most < plan.clients + plan.lazy + 200:
        raise BenchError(f"only {most} files may be open here: raise `ulimit -Hn`, or choose fewer --clients")
    advance = step("Kafka and PostgreSQL", 0)
    async with staged() as stage, stage.fresh_database("stream") as admin_dsn:
        await stage.migrate("stream")
        topics = await stage.make_topics("bench")
        described = machine.describe("")
        async with stage.metrics("api", "stream", topics) as api, Publisher(stage.broker.address, client_id="bench") as publisher:
            await api.ready()
            assert admin_dsn
            advance(1)
            return {"machine": described, **await _measure(plan, step, stage, api, publisher, topics)}


async def _measure(plan: Plan, step: Step, stage: Stage, api: Running, publisher: Publisher, topics: Topics) -> dict[str, Any]:
    versions = itertools.count(1)

    async def publish(counters: list[Counter]) -> None:
        version, at = next(versions), datetime.now(UTC)
        await publisher.publish(
            [Message(topics.county_metrics, "|".join(c), encode(Total(c, version, version, at), at)) for c in counters]
        )

    await publish(COUNTERS)
    async with httpx.AsyncClient(
        base_url=api.url, headers={"Authorization": f"Bearer {stage.reader_token}"}, trust_env=False, timeout=30
    ) as http:
        position = await _followed(http)
        alone = memory_mib(api.pid)[0]
        address = urlsplit(api.url)
        host, port = address.hostname or "", address.port or 0
        request = (
            f"GET /v1/stream?from_offset={position} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {stage.reader_token}\r\n\r\n"
        ).encode()
        loop = asyncio.get_running_loop()
        clients = [Client(request, plan.changed) for _ in range(plan.clients)]
        connect = step(f"{plan.clients:,} clients connect", plan.clients)
        begun = time.monotonic()
        async with AsyncExitStack() as open_connections:
            for client in clients:
                transport, _ = await loop.create_connection(partial(_same, client), host, port)
                open_connections.callback(transport.close)
                connect(1)
            for _ in range(plan.lazy):
                reader, writer = await asyncio.open_connection(host, port, limit=1024)
                open_connections.callback(writer.close)
                writer.write(request.replace(b"from_offset=%d" % position, b"from_offset=0"))
                assert reader
            await _until(lambda: all(client.opened for client in clients), "not every client was answered")
            connecting = time.monotonic() - begun
            connected = memory_mib(api.pid)[0]
            rounds = step(f"{plan.rounds} rounds of {plan.changed} changes", plan.rounds)
            used, sent = cpu_seconds(api.pid), []
            for number in range(plan.rounds):
                at = time.monotonic()
                start = number * plan.changed
                await publish([COUNTERS[place % len(COUNTERS)] for place in range(start, start + plan.changed)])
                sent.append(at)
                rounds(1)
                await asyncio.sleep(max(0.0, plan.every_seconds - (time.monotonic() - at)))
            wanted = plan.rounds * plan.changed
            await _until(lambda: all(client.events >= wanted for client in clients), "a client missed an event")
            used = cpu_seconds(api.pid) - used
            if wrong := [client.events for client in clients if client.events != wanted]:
                raise BenchError(f"{len(wrong)} clients saw another number of events than {wanted}, e.g. {wrong[0]}")
            now, most = memory_mib(api.pid)
    return {
        "workload": {"clients": plan.clients, "lazy": plan.lazy, "rounds": plan.rounds, "changed": plan.changed},
        "connect_seconds": round(connecting, 2),
        "published_to_client": percentiles([whole - at for c in clients for whole, at in zip(c.whole, sent, strict=True)]),
        "published_to_all_clients": percentiles([max(c.whole[n] for c in clients) - at for n, at in enumerate(sent)]),
        "events": wanted * plan.clients,
        "cpu_us_per_event": round(used * 1e6 / (wanted * plan.clients), 2),
        "cpu_share": round(used / (plan.rounds * plan.every_seconds), 2),
        "memory_mib": {
            "alone": round(alone, 1), "connected": round(connected, 1), "end": round(now, 1), "peak": round(most, 1),
            "kib_a_client": round((now - alone) * 1024 / (plan.clients + plan.lazy), 1),
        },
    }  # fmt: skip


def _same(client: Client) -> Client:
    return client


async def _followed(http: httpx.AsyncClient) -> int:
    """Waits until the api has read every counter; gives the position behind."""
    deadline = time.monotonic() + LATE_SECONDS
    while time.monotonic() < deadline:
        answer = await http.get("/v1/snapshot")
        if answer.status_code == 200 and len(answer.json()["rows"]) == len(COUNTERS):
            return int(answer.json()["position"]["next_offset"])
        await asyncio.sleep(0.1)
    raise BenchError("the api did not read county-metrics in time")


async def _until(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + LATE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(otherwise)
        await asyncio.sleep(0.05)


def lines(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    load, memory = report["workload"], report["memory_mib"]
    one, every = report["published_to_client"], report["published_to_all_clients"]
    return [
        f"{load['clients']:,} clients, {load['lazy']} more that never read; {load['rounds']} rounds of {load['changed']} changes",
        f"connected in {report['connect_seconds']} s; {report['events']:,} events, none missed, none twice",
        f"publishing begun to a client has all of the round: p50 {one['p50_ms']} ms, p99 {one['p99_ms']} ms",
        f"… until every client has it: p50 {every['p50_ms']} ms, most {every['max_ms']} ms",
        f"api: {report['cpu_us_per_event']} µs CPU an event and client, {report['cpu_share']:.0%} of a core",
        f"memory: {memory['alone']} MiB alone, {memory['connected']} connected, {memory['end']} at the end,"
        f" {memory['peak']} at most; {memory['kib_a_client']} KiB a client",
    ]
