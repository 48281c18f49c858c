"""Intake's push edge beside a bare route, on one broker (``./onething bench intake``).

Signed batches and single signed events go over kept-alive connections to one api process; the same events, unsigned, to a bare
FastAPI + aiokafka route (``bare_intake``). The two take turns, so that whatever else the machine does meets both alike. Each row
gives events a second that Kafka has acknowledged (acks=all), and CPU time an event of the api, of the broker and of the client.
"""

import asyncio
import json
import math
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks import machine
from benchmarks.load import SOURCE
from benchmarks.metrics import Step
from benchmarks.pusher import prepared
from benchmarks.rival import GIVEN
from benchmarks.rows import Row
from benchmarks.stage import BenchError, Running, Stage, staged, started
from benchmarks.usage import Watch, memory_mib
from deploy.local.parts import LOOPBACK, Part, base_environment, until_ready
from deploy.local.service import Needs, environment, is_ready, service_part
from deploy.local.state import webhook_secret
from shared.kafka import LogReader, Topics
from shared.receipts import new_key

SENDER: Final = "hebei-onething"
START_SECONDS: Final = 60.0
_ID_AT: Final = len(b'{"specversion":"1.0","id":"')
"""Where the id begins in an event as intake writes it."""

Kind = Literal["batches", "single"]
KINDS: Final[tuple[Kind, ...]] = ("batches", "single")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. Each of ``rounds`` gives each server ``seconds`` of each kind of load."""

    batch: int = 500
    rounds: int = 3
    seconds: float = 8.0
    warm_seconds: float = 1.5
    batch_connections: int = 4
    single_connections: int = 32
    distinct_batches: int = 40
    distinct_events: int = 2_000
    overload_minutes: float = 0.0
    overload_connections: int = 150
    seed: int = 1
    only: tuple[Kind, ...] = KINDS


QUICK: Final = Plan(rounds=1, seconds=0.8, warm_seconds=0.3, distinct_batches=6, distinct_events=200)
"""A size for seeing that every part runs; its figures say little."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A server under load. ``paths`` is where each kind of load goes; ``secret`` signs, ``None`` where nobody looks."""

    name: str
    what: str
    running: Running
    paths: Mapping[Kind, str]
    secret: str | None


async def run(plan: Plan, step: Step) -> dict[str, Any]:
    """Runs the parts of ``plan``; returns machine, workload and rows, ready for JSON.

    Raises:
        BenchError: a part failed, or an answer was not 202.
        StackError: Kafka did not start.
    """
    step("start Kafka and the servers", 0)
    rows: list[Row] = []
    overload: Row | None = None
    async with staged() as stage:
        on = machine.describe("not used")
        async with ours(stage) as own, bare(stage) as other:
            for kind in plan.only:
                rows += await _side_by_side(plan, stage, (own, other), kind, step)
        if plan.overload_minutes:
            overload = await overloaded(plan, stage, step)
    _compare(rows)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": on,
        "workload": asdict(plan),
        "rows": rows,
        "overload": overload,
    }


@asynccontextmanager
async def ours(stage: Stage, prefix: str = "bench-intake") -> AsyncIterator[Edge]:
    """``python -m services.intake.main api``, the real one, on topics of its own."""
    topics = await stage.make_topics(prefix)
    secret = webhook_secret()
    senders = stage.folder / "senders.json"
    senders.write_text(json.dumps({SENDER: {"source": SOURCE, "secrets": [secret]}}))
    receipt_key = stage.folder / "receipt.pem"
    receipt_key.write_bytes(new_key())
    needs = Needs(
        kafka=stage.broker.address, topic_prefix=topics.prefix, dsns={}, senders_file=senders, companies_file=Path("none"),
        reader_token="", operator_token="", receipt_key_file=receipt_key,
    )  # fmt: skip
    port = next(stage.ports)
    part = service_part("intake", "api", port, stage.folder / "intake-api.log", environment("intake", port, needs))
    path = f"/v1/senders/{SENDER}/events"
    async with _serving(part, port) as running:
        yield Edge("ours", "ours", running, {"batches": path, "single": path}, secret)


@asynccontextmanager
async def bare(stage: Stage) -> AsyncIterator[Edge]:
    """The bare route, on topics of its own."""
    topics = await stage.make_topics("bench-bare")
    port = next(stage.ports)
    url = f"http://{LOOPBACK}:{port}"
    given = {"kafka": stage.broker.address, "topic": topics.case_events, "host": LOOPBACK, "port": port}
    variables = base_environment() | {GIVEN: json.dumps(given)}

    async def probe() -> bool:
        return await is_ready(url)

    command = (sys.executable, "-m", "benchmarks.bare_intake")
    part = Part("bare route", command, stage.folder / "bare.log", probe, variables, stop_seconds=5)
    async with _serving(part, port) as running:
        yield Edge("bare", "bare", running, {"batches": "/events", "single": "/event"}, None)


@asynccontextmanager
async def _serving(part: Part, port: int) -> AsyncIterator[Running]:
    async with started(part) as process:
        await until_ready(part, process, START_SECONDS)
        yield Running(part, process, f"http://{LOOPBACK}:{port}")


async def _side_by_side(plan: Plan, stage: Stage, both: tuple[Edge, Edge], kind: Kind, step: Step) -> list[Row]:
    advance = step(f"{_words(plan, kind)}: in turns", plan.rounds * len(both))
    found: dict[str, list[Row]] = {edge.name: [] for edge in both}
    for number in range(plan.rounds):
        # What runs first of a round finds the broker colder: they take turns at that too.
        for edge in both if number % 2 == 0 else reversed(both):
            found[edge.name].append(await pushed(plan, stage, edge, kind))
            advance(1)
    return [_row(plan, kind, edge, found[edge.name]) for edge in both]


def _words(plan: Plan, kind: Kind) -> str:
    return f"batches of {plan.batch}" if kind == "batches" else "single"


async def pushed(plan: Plan, stage: Stage, edge: Edge, kind: Kind) -> Row:
    """One turn of one edge, as the client's process says it.

    Raises:
        BenchError: an answer was not 202.
    """
    measured = await stage.measured("pusher", _given(plan, stage, edge, kind), 60 + 2 * plan.seconds)
    edge.running.refuse_dead()
    if set(measured["statuses"]) != {"202"}:
        raise BenchError(f"{edge.what}: answers by status were {measured['statuses']}, and 202 alone is right here")
    return measured


def _given(plan: Plan, stage: Stage, edge: Edge, kind: Kind) -> dict[str, Any]:
    """What the client's process is told."""
    batch = plan.batch if kind == "batches" else 0
    return {
        "how": "closed", "url": edge.running.url, "path": edge.paths[kind], "secret": edge.secret, "batch": batch,
        "requests": plan.distinct_batches if batch else plan.distinct_events,
        "connections": plan.batch_connections if batch else plan.single_connections,
        "warm_seconds": plan.warm_seconds, "seconds": plan.seconds, "seed": plan.seed,
        "servers": {"api": edge.running.pid, "kafka": stage.kafka_pid},
    }  # fmt: skip


def _row(plan: Plan, kind: Kind, edge: Edge, turns: list[Row]) -> Row:
    events = sum(turn["events"] for turn in turns)
    seconds = sum(turn["seconds"] for turn in turns)
    cpu = {
        of: round(sum(turn["cpu_seconds"][name] for turn in turns) / max(events, 1) * 1e6, 2)
        for of, name in (("api", "api"), ("kafka", "kafka"), ("client", "process"))
    }
    return {
        "name": f"{kind}-{edge.name}",
        "what": f"{_words(plan, kind)}, {edge.what}",
        "events": events,
        "requests": sum(turn["requests"] for turn in turns),
        "seconds": round(seconds, 2),
        "events_per_second": round(events / seconds, 1),
        "by_round": [round(turn["events"] / turn["seconds"], 1) for turn in turns],
        "cpu_us_per_event": cpu,
        "client_cpu_share": round(sum(turn["cpu_seconds"]["process"] for turn in turns) / seconds, 2),
        "latency": turns[-1]["latency"],
        "peak_mib": round(memory_mib(edge.running.pid)[1], 1),
    }


def _compare(rows: list[Row]) -> None:
    """Adds ``of_bare`` to our rows: how many times the bare route's rate, and its CPU time an event, ours is."""
    by_name = {row["name"]: row for row in rows}
    for row in rows:
        base = by_name[row["name"].partition("-")[0] + "-bare"]
        row["of_bare"] = {
            "events_per_second": round(row["events_per_second"] / base["events_per_second"], 2),
            "api_cpu_us": round(row["cpu_us_per_event"]["api"] / base["cpu_us_per_event"]["api"], 2),
        }


async def overloaded(plan: Plan, stage: Stage, step: Step) -> Row:
    """Batches at twice the rate that was just found, for minutes: what is refused, memory, and whether all accepted is stored.

    Raises:
        BenchError: an accepted event is not on the topic, or an answer was neither 202 nor 429 nor 503.
    """
    step("overload: what one process takes", 0)
    async with ours(stage, "bench-overload") as edge:
        found = await pushed(plan, stage, edge, "batches")
        seconds = plan.overload_minutes * 60
        given = _given(plan, stage, edge, "batches") | {
            "how": "open", "per_second": 2 * found["requests"] / found["seconds"], "seconds": seconds,
            "connections": plan.overload_connections,
        }  # fmt: skip
        advance = step(f"overload: twice that, seconds of {seconds:.0f}", math.ceil(seconds))
        async with Watch({"process": edge.running.pid}) as watch:
            pushing = asyncio.create_task(stage.measured("pusher", given, 2 * seconds + 120))
            while not pushing.done():
                await asyncio.wait([pushing], timeout=1)
                advance(1)
        measured = await pushing
        edge.running.refuse_dead()
        if wrong := set(measured["statuses"]) - {"202", "429", "503"}:
            raise BenchError(f"overload: answers by status were {measured['statuses']}; {sorted(wrong)} must not be (0: it broke)")
        step("overload: count what is stored", 0)
        promised = Counter(found["accepted"]) + Counter(measured["accepted"])
        topic = Topics("bench-overload").case_events
        stored = await stored_ids(stage.broker.address, topic)
    missing = sum(max(0, promised[request.name] - stored[event_id]) for request in prepared(given) for event_id in request.ids)
    if missing:
        raise BenchError(f"overload: {missing} accepted events are not on {topic}")
    samples = watch.memory["process"].samples
    return {
        "seconds": round(measured["seconds"], 1),
        "offered_events_per_second": round(given["per_second"] * plan.batch),
        "accepted_events_per_second": round(measured["events"] / measured["seconds"]),
        "requests": {"offered": measured["offered"], "late": measured["late"], **measured["statuses"]},
        "latency": measured["latency"],
        "client_cpu_share": round(measured["cpu_seconds"]["process"] / measured["seconds"], 2),
        "accepted_events": sum(promised.values()) * plan.batch,
        "missing": missing,
        "peak_mib": round(watch.memory["process"].peak, 1),
        "samples_mib": samples,
    }


async def stored_ids(kafka: str, topic: str) -> Counter[str]:
    """How often each event id stands on ``topic``."""
    found: Counter[bytes] = Counter()
    async with LogReader(kafka, [topic], client_id="bench") as reader:
        ends = await reader.ends()
        while any(position < ends[place] for place, position in (await reader.positions()).items()):
            for records in (await reader.read(20_000)).values():
                found.update(record.value[_ID_AT : record.value.index(b'"', _ID_AT)] for record in records if record.value)
    return Counter({event_id.decode(): n for event_id, n in found.items()})
