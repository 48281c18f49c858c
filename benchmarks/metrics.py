"""Counting, measured side by side on one broker and one database (``./onething bench metrics``).

Each part gives a row: what it is, events a second, CPU time an event of the process, of PostgreSQL (all its backends) and of the
broker, memory. A part that counts is checked cell by cell: a fast wrong count is no result.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import asyncpg

from benchmarks import clients, machine, prefill
from benchmarks.load import Advance, Cell, Workload, publish
from benchmarks.rows import Row, cells, memory, row, sizes
from benchmarks.stage import BenchError, Running, Stage, staged
from benchmarks.usage import Watch
from deploy.local.parts import tail
from shared.counties import ROSTER
from shared.kafka import Publisher, Topics

Part = Literal["read", "copy", "upsert", "naive", "batch", "worker", "reads", "paced"]
PARTS: Final[tuple[Part, ...]] = ("read", "copy", "upsert", "naive", "batch", "worker", "reads", "paced")
COUNTING: Final = frozenset({"worker", "reads", "paced"})
POLL_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. ``counters`` is the number of counties with three years of daily counters stored before."""

    events: int = 600_000
    cases: int = 200_000
    stored: int = 0
    counters: int = 0
    naive_events: int = 6_000
    batch_events: int = 60_000
    paced_per_second: float = 2_000.0
    paced_seconds: float = 30.0
    probe_every: float = 0.25
    seed: int = 1
    only: tuple[Part, ...] = PARTS

    @property
    def limit(self) -> float:
        """Seconds that a part may take."""
        return 120 + self.events / 1_000

    @property
    def probes(self) -> int:
        return int(self.paced_seconds / self.probe_every)


QUICK: Final = Plan(
    events=30_000, cases=10_000, stored=1_000, counters=2, naive_events=300, batch_events=4_000, paced_per_second=500.0,
    paced_seconds=5.0, probe_every=0.25,
)  # fmt: skip
"""A size for seeing that every part runs; its figures say little."""

Step = Callable[[str, int], Advance]
"""Told what comes now and how much of it; gives what is told of progress."""


async def run(plan: Plan, step: Step) -> dict[str, Any]:
    """Runs the parts of ``plan``; returns machine, workload and rows, ready for JSON.

    Raises:
        BenchError: a part failed, was too slow, or counted wrong.
        StackError: Kafka or PostgreSQL did not start.
    """
    step("start Kafka and PostgreSQL", 0)
    async with staged() as stage:
        bench = Bench(plan, stage, step)
        return await bench.run()


class Bench:
    """One run: its stage, and the rows so far."""

    def __init__(self, plan: Plan, stage: Stage, step: Step) -> None:
        self.plan = plan
        self.stage = stage
        self.step = step
        self.rows: list[Row] = []
        self.event_bytes = 0.0
        self.expected: Counter[Cell] = Counter()

    async def run(self) -> dict[str, Any]:
        connection = await asyncpg.connect(self.stage.database.admin_dsn("postgres"))
        on = machine.describe(str(await connection.fetchval("show server_version")))
        await connection.close()
        wanted = [part for part in PARTS if part in self.plan.only]
        load = Workload(self.plan.seed, self.plan.events, self.plan.cases)
        topics = await self.stage.make_topics("bench")
        if set(wanted) & {"read", "naive", "batch", "worker"}:
            await self._publish(load, topics)
        async with self.stage.fresh_database("rivals") as dsn:
            for what, module, given in rivals(self.plan, topics.case_events):
                await self._rival(dsn, what, module, given)
        if COUNTING & set(wanted):
            async with self.stage.fresh_database("onething") as dsn:
                await self._counting(dsn, wanted, load, topics)
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": on,
            "workload": asdict(self.plan) | {"only": wanted, "bytes_per_event_with_key_and_headers": round(self.event_bytes)},
            "rows": self.rows,
        }

    async def _publish(self, load: Workload, topics: Topics) -> None:
        advance = self.step(f"publish to {topics.case_events}", load.size)
        self.event_bytes = await publish(self.stage.broker.address, topics.case_events, load.events(), advance) / load.size

    async def _rival(self, dsn: str, what: str, module: str, given: Row) -> None:
        self.step(what, 0)
        common = {"kafka": self.stage.broker.address, "dsn": dsn, "seed": self.plan.seed, "servers": self.stage.servers}
        measured = await self.stage.measured(module, common | given, self.plan.limit)
        name = "-".join(given[word] for word in ("how", "rows") if word in given)
        self.rows.append(
            row(name, what, measured["events"], measured["seconds"], measured["cpu_seconds"]) | {"peak_mib": measured["peak_mib"]}
        )

    async def _counting(self, dsn: str, wanted: list[Part], load: Workload, topics: Topics) -> None:
        await self.stage.migrate("onething")
        db = await asyncpg.connect(dsn)
        try:
            if self.plan.stored:
                cases, copies = prefill.shape(self.plan.stored)
                advance = self.step(f"store {cases * copies:,} older cases", cases * copies)
                self.expected += await prefill.store_cases(self.stage, "onething", db, self.plan.stored, advance)
            if self.plan.counters:
                advance = self.step(f"store daily counters of {self.plan.counters} counties", self.plan.counters)
                await prefill.store_counters(db, self.plan.counters, advance)
            if "worker" in wanted:
                await self._worker(db, load, topics)
            if "reads" in wanted:
                await self._reads(db)
            if "paced" in wanted:
                await self._paced(db)
        finally:
            await db.close()

    async def _worker(self, db: asyncpg.Connection, load: Workload, topics: Topics) -> None:
        wal = await db.fetchval("select pg_current_wal_insert_lsn()")
        advance = self.step("this worker", load.size)
        async with self.stage.metrics("worker", "onething", topics) as worker:
            found = await self._counted("worker", "this worker", db, worker, topics.case_events, load.size, advance)
            await prefill.until_folded(db, worker, self.plan.limit)
        found["wal_bytes_per_event"] = round(await db.fetchval("select pg_current_wal_insert_lsn() - $1::pg_lsn", wal) / load.size)
        found["database"] = await sizes(db)
        self.expected += load.expected()
        async with self._api(topics) as api:
            found["checked"] = await self._check(db, api)
        self.rows.append(found)

    async def _reads(self, db: asyncpg.Connection) -> None:
        load = Workload(self.plan.seed + 1000, self.plan.events, self.plan.cases)
        topics = await self.stage.make_topics("bench-reads")
        await self._publish(load, topics)
        advance = self.step("reads while this worker counts at full speed", load.size)
        async with self._api(topics) as api:
            readers = clients.Readers(self.stage, api)
            await readers.warm()
            async with self.stage.metrics("worker", "onething", topics) as worker:
                words = "this worker, read"
                found = await self._counted("reads", words, db, worker, topics.case_events, load.size, advance, readers)
            found["reads"] = readers.result()
            self.expected += load.expected()
            found["checked"] = await self._check(db, api)
        self.rows.append(found)

    async def _paced(self, db: asyncpg.Connection) -> None:
        plan = self.plan
        count = int(plan.paced_per_second * plan.paced_seconds)
        load = Workload(plan.seed + 2000, count, max(1, -(-count // 3)))
        topics = await self.stage.make_topics("bench-paced")
        events = list(load.events())
        self.step(f"{plan.paced_per_second:,.0f} events/s for {plan.paced_seconds:.0f} s: freshness and reads", 0)
        async with (
            self._api(topics) as api,
            # Counters without cases would all differ: there is nothing in them for a check.
            self.stage.metrics(
                "worker", "onething", topics, **{"ONETHING_CONSISTENCY_SECONDS": "0"} if plan.counters else {}
            ) as worker,
            Publisher(self.stage.broker.address, client_id="bench") as publisher,
        ):
            await worker.ready()
            await prefill.until_told(worker, db, self.plan.limit)
            readers = clients.Readers(self.stage, api)
            await readers.warm()
            limited = bounded("this worker, paced", 60 + 4 * plan.paced_seconds)
            async with limited, Watch({"process": worker.pid, **self.stage.servers}) as watch, readers:
                pacing = clients.publish_paced(
                    publisher, topics.case_events, iter(events), plan.paced_per_second, plan.paced_seconds
                )
                probing = clients.freshness(publisher, topics.case_events, api, plan.probes, plan.probe_every)
                (sent, seconds), (fresh, probed) = await asyncio.gather(pacing, probing)
            await prefill.until_counted(db, worker, topics.case_events, sent + len(probed), plan.limit)
            await prefill.until_folded(db, worker, plan.limit)
            self.expected += load.expected(sent) + Counter(cell for probe in probed for cell in probe.cells())
            found = row("paced", "this worker, paced", sent, seconds, watch.cpu)
            found |= memory(watch) | {"freshness": clients.percentiles(fresh), "reads": readers.result()}
            found["checked"] = await self._check(db, api)
        self.rows.append(found)

    async def _counted(
        self,
        name: str,
        what: str,
        db: asyncpg.Connection,
        worker: Running,
        topic: str,
        goal: int,
        advance: Advance,
        meanwhile: AbstractAsyncContextManager[object] | None = None,
    ) -> Row:
        """A row for the worker that was just started: from its first commit to its last, what came before left out."""
        launched = time.perf_counter()
        first = 0
        async with bounded(what, self.plan.limit):
            while not first:
                worker.refuse_dead()
                await asyncio.sleep(POLL_SECONDS)
                first = await prefill.counted(db, topic)
            start_up = time.perf_counter() - launched
            async with meanwhile or nullcontext(), Watch({"process": worker.pid, **self.stage.servers}) as watch:
                first = await prefill.counted(db, topic)
                advance(done := first)
                while done < goal:
                    worker.refuse_dead()
                    await asyncio.sleep(POLL_SECONDS)
                    now = await prefill.counted(db, topic)
                    advance(now - done)
                    done = now
        found = row(name, what, goal - first, watch.seconds, watch.cpu)
        return found | memory(watch) | {"start_up_seconds": round(start_up, 2), "counted_before_timing": first}

    @asynccontextmanager
    async def _api(self, topics: Topics) -> AsyncIterator[Any]:
        async with self.stage.metrics("api", "onething", topics) as process:
            await process.ready()
            async with clients.client(process.url, self.stage.reader_token) as api:
                try:
                    yield api
                except BenchError as error:
                    raise BenchError(f"{error}\nthe api's log ends:\n{tail(process.part.log)}") from None

    async def _check(self, db: asyncpg.Connection, api: Any) -> Row:
        """Every counter equals what the workload knows, and the service's own recount agrees.

        Raises:
            BenchError: not so.
        """
        found = await cells(db)
        if found != self.expected:
            differing = {cell for cell in found.keys() | self.expected.keys() if found[cell] != self.expected[cell]}
            some = [f"{cell}: {found[cell]}, not {self.expected[cell]}" for cell in sorted(differing)[:5]]
            raise BenchError(f"{len(differing)} counters are wrong: {'; '.join(some)}")
        # Counters without cases stand for other counties only: then each county of the roster is asked for.
        questions: list[dict[str, str]] = [{"county": c.code} for c in ROSTER] if self.plan.counters else [{}]
        checked, begun = 0, time.perf_counter()
        for question in questions:
            answer = (await api.get("/v1/consistency", params=question, timeout=300)).raise_for_status().json()
            if answer["drift"]:
                raise BenchError(f"the recount differs from the counters: {answer['drift'][:3]}")
            checked += answer["checked"]
        seconds = round(time.perf_counter() - begun, 2)
        return {"cases": checked, "counters": len(found), "wrong": 0, "drift": 0, "seconds": seconds}


def rivals(plan: Plan, topic: str) -> Iterator[tuple[str, str, Row]]:
    """What to call each rival of ``plan``, its module, and what it is told. Each is a process that takes its own time."""
    if "read" in plan.only:
        yield "bare read", "bare", {"how": "read", "topic": topic, "events": plan.events}
    for how, words in (("copy", "bare COPY"), ("upsert", "bare upsert")):
        if how in plan.only:
            for rows in ("narrow", "wide"):
                yield f"{words}, {rows}", "bare", {"how": how, "rows": rows, "events": plan.events, "cases": plan.cases}
    for how, words, events in (
        ("naive", "naive FastStream", plan.naive_events),
        ("batch", "FastStream list[Model]", plan.batch_events),
    ):
        if how in plan.only:
            yield words, "naive", {"how": how, "topic": topic, "events": min(events, plan.events)}


@asynccontextmanager
async def bounded(what: str, seconds: float) -> AsyncIterator[None]:
    """Raises a :class:`BenchError` when what is inside takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise BenchError(f"{what}: not done within {seconds:.0f} s") from None
