"""A rebuild gives what the oracle counts, while workers count on and readers read, and harms nothing when it is killed.

Real processes, a real Kafka and a real PostgreSQL.
"""

import asyncio
import contextlib
import os
import random
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import asyncpg
import httpx
import pytest

from shared import counties
from shared.events import progress
from shared.kafka import Topics
from tests import load, oracle, reading_oracle, utilities_oracle
from tests.case_events import SOURCE
from tests.conftest import Credentials, Services, TestDatabase
from tests.metrics_support import counted, send, taken, until
from tests.oracle import Event
from tests.utilities_support import PAIRS


@dataclass(frozen=True, slots=True)
class Stage:
    """What every test here has: where things are, and the command."""

    kafka: str
    topics: Topics
    database: TestDatabase
    credentials: Credentials

    def client(self, url: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.credentials.operator_token}"}
        return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60)

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.database.admin_dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def fetchval(self, query: str) -> object:
        connection = await asyncpg.connect(self.database.admin_dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def counted_all(self, events: int) -> None:
        """Waits until so many records of the case events are counted."""

        async def all_taken() -> bool:
            return await taken(self.database.admin_dsn, self.topics.case_events) == events

        await until(all_taken)

    async def followed_all(self, snapshots: int) -> None:
        """Waits until so many snapshots are kept."""

        async def all_taken() -> bool:
            return await taken(self.database.admin_dsn, self.topics.progress) == snapshots

        await until(all_taken)

    async def rebuild(self, *options: str, batch: int = 20_000) -> asyncio.subprocess.Process:
        """Starts the command."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ONETHING_")} | {
            "ONETHING_KAFKA": self.kafka,
            "ONETHING_TOPIC_PREFIX": self.topics.prefix,
            "ONETHING_POSTGRES_DSN": self.database.dsn("metrics"),
            "ONETHING_POSTGRES_ADMIN_DSN": self.database.admin_dsn,
            "ONETHING_BATCH_RECORDS": str(batch),
        }
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.metrics.main", "rebuild", *options,
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip

    async def rebuilt(self, *options: str, batch: int = 20_000) -> None:
        """Runs the command to its good end."""
        process = await self.rebuild(*options, batch=batch)
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()[-1500:]

    async def schemas(self) -> set[str]:
        connection = await asyncpg.connect(self.database.admin_dsn)
        try:
            return {row[0] for row in await connection.fetch("select nspname from pg_namespace where nspname like 'metrics%'")}
        finally:
            await connection.close()


@pytest.fixture
def stage(kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials) -> Stage:
    return Stage(kafka, topics, database, credentials)


def snapshot(kind: str, subject: str, state: dict[str, Any] | None) -> Event:
    """A snapshot as utilities publishes it; ``None`` for what is deleted."""
    data = {"kind": kind, "subject": subject, "version": 1, "deleted": state is None, "state": state or {}}
    return {"type": progress.TYPE, "subject": f"{kind}|{subject}", "data": data}


async def metric(client: httpx.AsyncClient, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", (await client.get("/metrics")).text, re.MULTILINE)
    assert found, f"there is no metric {name}"
    return float(found[1])


async def test_drift_is_seen_by_the_schedule_and_set_right_from_the_cases_while_the_worker_counts(
    stage: Stage, service: Services
) -> None:
    distinct, arriving = load.season(21, cases=1500)
    half = len(arriving) // 2
    api = await service("metrics", "api")
    worker = await service("metrics", "worker", ONETHING_BATCH_RECORDS="200", ONETHING_CONSISTENCY_SECONDS="0.2")
    await send(stage.kafka, stage.topics.case_events, arriving[:half])
    await stage.counted_all(half)
    async with stage.client(api.url) as reading, stage.client(worker.url) as watching:

        async def drifts(differing: float) -> None:
            async def seen() -> bool:
                return await metric(watching, "onething_metrics_drift") == differing

            await until(seen, 20)

        await drifts(0)
        assert await metric(watching, "onething_metrics_consistency_checked") > 0
        assert (await reading.post("/v1/rebuild")).json()["differing"] == 0
        # A counter too much, where there is none; and one day's counters gone.
        await stage.execute("insert into metrics.counters values ('retirement', '130602', '2024-01-01', 7, 0, 0, 0, 0, 0, 0, 0, 2)")
        await drifts(2)

        async def kept() -> bool:
            return await stage.fetchval("select differing from metrics.checks") == 2

        await until(kept, 20)
        found = (await reading.get("/v1/consistency", params={"item": "retirement"})).json()["drift"]
        assert [(row["measure"], row["recount"], row["counter"]) for row in found] == [("handled", 0, 7), ("online", 0, 2)]
        assert (await reading.get("/v1/consistency", params={"item": "newborn"})).json()["drift"] == []
        assert "retirement/130602/2024-01-01/handled: 7 for 0" in worker.log
        sending = asyncio.create_task(send(stage.kafka, stage.topics.case_events, arriving[half:]))
        await stage.execute("delete from metrics.counters where county = '130607'")
        answer = (await reading.post("/v1/rebuild")).json()
        assert answer["from"] == "cases"
        assert {row["county"] for row in answer["changed"]} >= {"130602", "130607"}
        await sending
        await stage.counted_all(len(arriving))
        assert await counted(stage.database.admin_dsn) == oracle.count(distinct)
        await drifts(0)
        await stage.execute("update metrics.counters set handled = handled + 1")
        await stage.rebuilt()  # by command, as the default
        assert (await reading.get("/v1/consistency")).json()["drift"] == []


async def test_of_two_workers_one_checks_and_the_other_takes_over(stage: Stage, service: Services) -> None:
    workers = [await service("metrics", "worker", ONETHING_CONSISTENCY_SECONDS="0.2") for _ in range(2)]
    async with stage.client(workers[0].url) as first, stage.client(workers[1].url) as second:

        async def checks(client: httpx.AsyncClient) -> bool:
            return await metric(client, "onething_metrics_consistency_checked") == 0  # NaN: it does not check

        async def one_checks() -> bool:
            return (await checks(first)) != (await checks(second))

        await until(one_checks, 20)
        await asyncio.sleep(1)
        assert await one_checks()
        checking, other = (0, second) if await checks(first) else (1, first)
        workers[checking].kill()

        async def takes_over() -> bool:
            return await checks(other)

        await until(takes_over, 20)


async def test_two_rebuilds_from_the_cases_at_once_add_what_is_missing_once(stage: Stage, service: Services) -> None:
    distinct, arriving = load.season(22, cases=600)
    api = await service("metrics", "api")
    worker = await service("metrics", "worker")
    await send(stage.kafka, stage.topics.case_events, arriving)
    await stage.counted_all(len(arriving))
    assert worker.terminate()
    await stage.execute("delete from metrics.counters; delete from metrics.counter_deltas")
    async with stage.client(api.url) as client:
        answers = [answer.json() for answer in await asyncio.gather(*(client.post("/v1/rebuild") for _ in range(4)))]
    assert sorted(answer["differing"] for answer in answers)[:3] == [0, 0, 0]
    assert await counted(stage.database.admin_dsn) == oracle.count(distinct)


def simple(draw: random.Random, number: int) -> Event:
    """The first event of a case that nothing else is told of: it adds one to what is handled."""
    case_no = f"live-{number}"
    at = f"2024-09-{draw.randrange(1, 29):02}T02:00:{number % 60:02}Z"
    data = {"case_no": case_no, "step": "applied", "occurred_at": at, "recorded_at": at, "item": "newborn"}
    return {
        "specversion": "1.0", "id": case_no, "source": SOURCE, "type": "cn.onething.case.step.v1", "subject": case_no,
        "data": data | {"county": draw.choice(counties.ROSTER).code},
    }  # fmt: skip


@asynccontextmanager
async def going_on(work: Callable[[], AsyncIterator[None]]) -> AsyncIterator[None]:
    """Runs the steps of ``work`` again and again until the block ends; a step that fails fails the test."""
    ended = asyncio.Event()

    async def run() -> None:
        async for _ in work():
            if ended.is_set():
                return

    running = asyncio.create_task(run())
    try:
        yield
    finally:
        ended.set()
        await running


async def test_vandalised_tables_are_rebuilt_from_the_log_while_a_worker_counts_and_readers_read(
    stage: Stage, service: Services
) -> None:
    """What may be observed: no error; a figure never falls, as the live stream only adds; at the end the truth."""
    draw = random.Random(23)
    distinct, arriving = load.season(23, cases=3000)
    api = await service("metrics", "api")
    await service("metrics", "worker", ONETHING_BATCH_RECORDS="300")
    await send(stage.kafka, stage.topics.case_events, arriving)
    told = utilities_oracle.told(utilities_oracle.season(23, PAIRS, installations=40))
    await send(stage.kafka, stage.topics.progress, [snapshot(*key, state) for key, state in told.items()])
    await stage.counted_all(len(arriving))
    await stage.followed_all(len(told))
    await asyncio.sleep(1)  # all deltas are folded
    await stage.execute("delete from metrics.cases where case_no > '8'; delete from metrics.counters")
    await stage.execute("update metrics.matters set opened_on = null; update metrics.snapshots set version = version + 1")
    old_tables = await stage.fetchval("select 'metrics.cases'::regclass::oid")
    sent: list[Event] = []
    seen: tuple[list[int], list[int]] = [], []  # each reader's own: answers of two may overtake each other

    async def stream() -> AsyncIterator[None]:
        while True:
            events = [simple(draw, len(sent) + n) for n in range(40)]
            await send(stage.kafka, stage.topics.case_events, events)
            sent.extend(events)
            yield

    async def read(client: httpx.AsyncClient, totals: list[int]) -> AsyncIterator[None]:
        while True:
            for path in ("/v1/counts", "/v1/counts?group_by=day", "/v1/ranking?item=newborn", "/v1/notices/2024-09?item=newborn",
                         "/v1/recount", "/readyz"):  # fmt: skip
                answer = await client.get(path)
                assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
                if path == "/v1/counts":
                    totals.append(answer.json()["total"]["handled"])
            yield

    async with stage.client(api.url) as client:
        frozen = (await client.post("/v1/notices/2024-08?item=newborn")).json()["frozen"]
        async with going_on(stream), going_on(lambda: read(client, seen[0])), going_on(lambda: read(client, seen[1])):
            for _ in range(2):  # the second one of tables that are right
                await stage.rebuilt("--from", "log", batch=500)
                await asyncio.sleep(0.5)
        await stage.counted_all(len(arriving) + len(sent))
        assert (await client.get("/v1/consistency")).json()["drift"] == []
        states = [s for (kind, _), s in told.items() if kind == "installation" and s and {"county", "service"} <= s.keys()]
        installations = (await client.get("/v1/installations?as_of=2024-07-01")).json()
        assert installations["total"] == reading_oracle.row(states, date(2024, 7, 1))
        # What was frozen is not in the log: it was carried over, and freezing goes on.
        assert (await client.get("/v1/notices/2024-08?item=newborn")).json()["frozen"] == frozen
        assert (await client.post("/v1/notices/2024-07?item=newborn")).status_code == 201
        assert await stage.fetchval("select count(*) from metrics.audit where action = 'notice.freeze'") == 2
    assert await counted(stage.database.admin_dsn) == oracle.count([*distinct, *sent])
    for totals in seen:
        assert totals == sorted(totals), "a figure fell"
        assert len(set(totals)) > 10, "the reader saw the stream go on"
    assert await stage.fetchval("select 'metrics.cases'::regclass::oid") != old_tables
    assert await stage.schemas() == {"metrics"}
    # The role's rights came along: a new worker and a new api work, on tables made later too.
    await stage.execute("set search_path = metrics; create table later (n int); insert into later values (1)")
    role = await asyncpg.connect(stage.database.dsn("metrics"))
    assert await role.fetchval("select n from later") == 1
    await role.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_rebuild_that_is_killed_leaves_the_live_tables_as_they_were(seed: int, stage: Stage, service: Services) -> None:
    draw = random.Random(seed)
    distinct, arriving = load.season(30 + seed, cases=2000)
    api = await service("metrics", "api")
    worker = await service("metrics", "worker")
    await send(stage.kafka, stage.topics.case_events, arriving)
    await stage.counted_all(len(arriving))
    truth = oracle.count(distinct)
    for _ in range(3):
        process = await stage.rebuild("--from", "log", batch=draw.choice((200, 500, 2000)))

        async def at_work() -> bool:
            return "metrics_rebuild" in await stage.schemas()

        await until(at_work, 20)
        await asyncio.sleep(draw.random() * 4)
        with contextlib.suppress(ProcessLookupError):  # it may have ended: then it was not in the middle
            process.kill()
        await process.communicate()
        assert await counted(stage.database.admin_dsn) == truth
    await stage.rebuilt("--from", "log", "--keep")
    assert await stage.schemas() == {"metrics", "metrics_before"}
    assert await counted(stage.database.admin_dsn) == truth
    more = [simple(draw, n) for n in range(100)]
    await send(stage.kafka, stage.topics.case_events, more)
    await stage.counted_all(len(arriving) + len(more))
    assert await counted(stage.database.admin_dsn) == oracle.count([*distinct, *more])
    async with stage.client(api.url) as client:
        assert (await client.get("/v1/consistency")).json()["drift"] == []
    assert worker.terminate()
