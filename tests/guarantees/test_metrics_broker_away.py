"""Kafka that stops, in order and by a kill, while events are sent and counted, and comes again. A broker of this module's own.

What may be observed: the worker goes on by itself within seconds; each case counts once.
"""

import asyncio
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from deploy.local.broker import Broker, ensure_jars
from deploy.local.parts import free_ports, start, stop, until_ready
from tests import load
from tests.conftest import Credentials, Services
from tests.guarantees.scene import Measured, Scene, moments, once
from tests.guarantees.test_metrics_totals import expected, until_told
from tests.metrics_support import until
from tests.oracle import Event


class Node:
    """The broker of one test, which may be killed and started again."""

    def __init__(self, broker: Broker, log: Path) -> None:
        self.broker = broker
        self._part = broker.part(log)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._process = start(self._part)
        await until_ready(self._part, self._process, 90)

    async def end(self, how: signal.Signals) -> None:
        if self._process is not None:
            await asyncio.to_thread(stop, self._process, how, 30)


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    ports = free_ports()
    broker = Broker(tmp_path / "own-kafka", next(ports), next(ports))
    await asyncio.to_thread(ensure_jars)
    await asyncio.to_thread(broker.prepare)
    running = Node(broker, tmp_path / "own-kafka.log")
    await running.start()
    yield running
    await running.end(signal.SIGKILL)


@pytest.fixture
def kafka(node: Node) -> str:
    """Takes the place of the shared broker in this module."""
    return node.broker.address


async def _answered(client: httpx.AsyncClient, path: str, status: int) -> httpx.Response | None:
    async with client.stream("GET", path) as answer:
        if answer.status_code == 200 and path == "/v1/stream":
            return None
        await answer.aread()
        return answer if answer.status_code == status else None


async def test_a_broker_that_restarts_under_load_is_counted_on_from_where_it_was(
    scene: Scene, node: Node, measured: Measured, service: Services, credentials: Credentials
) -> None:
    draw = random.Random(45)
    told: list[Event] = []
    await scene.worker(BATCH_RECORDS="50")
    api = await service("metrics", "api")
    headers = {"Authorization": f"Bearer {credentials.reader_token}"}

    async def answers(path: str, status: int) -> httpx.Response:
        """Waits until ``path`` is answered so; who follows needs Kafka, who reads figures does not."""
        async with httpx.AsyncClient(base_url=api.url, headers=headers, trust_env=False, timeout=30) as client:
            assert (await client.get("/v1/counts")).status_code == 200
            found: httpx.Response = await once(lambda: _answered(client, path, status))
            return found

    await answers("/v1/snapshot", 200)
    for seed, how in ((45, signal.SIGTERM), (46, signal.SIGKILL)):
        distinct, arriving = load.season(seed, cases=1000)
        told += distinct
        goal, delay = moments(draw, len(arriving))
        before = await scene.taken()
        sending = asyncio.create_task(scene.send(arriving, pace=0.1))
        await scene.until_taken(before + goal // 2)
        await asyncio.sleep(delay)
        await node.end(how)
        for path in ("/v1/snapshot", "/v1/stream"):
            assert "retry-after" in (await answers(path, 503)).headers
        await node.start()
        back = time.monotonic()
        # One record more than the log holds: it must be sent, fetched and counted since.
        await scene.until_taken(await scene.stored() + (0 if sending.done() else 1))
        measured(f"counting went on after Kafka came back ({how.name})", time.monotonic() - back)
        await sending
        # Batches that were sent again are in the log twice: counted by what is there, not by what was sent.
        await scene.until_all_taken()
        await scene.exact(told)
        await until_told(scene, told)
    wanted = expected(told)

    async def whole_picture() -> bool:
        rows = (await answers("/v1/snapshot", 200)).json()["rows"]
        return {f"{row['county']}|{row['item']}|{row['measure']}": row["total"] for row in rows} == wanted

    await until(whole_picture)
