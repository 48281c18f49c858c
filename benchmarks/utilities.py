"""The utilities worker: a backlog of companies' events into state and snapshots, and a million due dates derived anew."""

import asyncio
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import asyncpg
import orjson

from benchmarks import machine
from benchmarks.stage import BenchError, Stage, staged, started
from benchmarks.usage import Watch, cpu_seconds
from deploy.local.parts import ROOT
from deploy.local.service import Needs, environment, service_part
from services.utilities.domain.limits import TimeLimits
from services.utilities.domain.steps import USUAL_ORDER, Timing
from services.utilities.handlers import due as deriving
from services.utilities.settings import LIMITS, read_limits
from services.utilities.store import due as store
from shared.events.case import Service
from shared.events.utility import INSTALLATION_TYPE
from shared.kafka import Message, Publisher, Topics
from shared.postgres import migrate_service, open_pool
from shared.workdays import PUBLISHED, Calendar

Step = Callable[[str, int], Callable[[int], None]]
"""Says what begins and of how many; gives what is called with each that is done."""

FIRST_DAY: Final = date(2024, 1, 2)
KINDS: Final = ("resident", "low_voltage", "high_voltage", "other", None)
PUBLISHED_AT_ONCE: Final = 5000
PATIENCE_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class Plan:
    """``events`` of a backlog, about 3 of each installation; ``installations`` whose due dates are derived."""

    events: int
    installations: int
    seed: int = 1


QUICK: Final = Plan(events=3000, installations=5000)


async def run(plan: Plan, step: Step) -> dict[str, Any]:
    """Both parts on servers of their own.

    Raises:
        BenchError, StackError: it cannot go on, or what came out is wrong.
    """
    async with staged() as stage:
        connection = await asyncpg.connect(stage.database.admin_dsn("postgres"))
        described = machine.describe(await connection.fetchval("show server_version"))
        await connection.close()
        rows = [await _backlog(stage, plan, step), *await _due_dates(stage, plan, step)]
    return {"machine": described, "plan": {"events": plan.events, "installations": plan.installations}, "rows": rows}


async def _migrated(stage: Stage, name: str) -> str:
    password = secrets.token_urlsafe(24)
    dsn = stage.database.dsn("utilities", password, name)
    files = list((ROOT / "services/utilities/migrations").glob("*.sql"))
    await migrate_service(stage.database.admin_dsn(name), dsn, "utilities", files)
    return dsn


def events(plan: Plan) -> Iterator[tuple[str, bytes]]:
    """(installation number, event) of installations that come to different ends, mixed as companies report them."""
    draw = random.Random(plan.seed)
    waiting: list[Iterator[tuple[str, bytes]]] = []
    for number in range(plan.events):
        if len(waiting) < 2000:
            waiting.append(_story(draw, number))
        place = draw.randrange(len(waiting))
        found = next(waiting[place], None)
        while found is None:
            waiting[place] = _story(draw, number + plan.events)
            found = next(waiting[place], None)
        yield found


def _story(draw: random.Random, serial: int) -> Iterator[tuple[str, bytes]]:
    number = f"AZ{serial:09}"
    company, county = f"company-{draw.randrange(40)}", draw.choice(("130602", "130606", "130607", "130608"))
    day = FIRST_DAY + timedelta(days=draw.randrange(600))
    about = {"county": county, "service": draw.choice(list(Service)).value}
    if (kind := draw.choice(KINDS)) is not None:
        about["customer_kind"] = kind
    if draw.random() < 0.3:
        about |= {"case_no": f"C{serial:09}", "case_source": "urn:onething:province:hebei"}
    happened = [step.value for step in USUAL_ORDER[: draw.randint(1, 5)]]
    if draw.random() < 0.2:
        happened[1:1] = ["paused", "resumed"]
    for place, name in enumerate(happened):
        at = f"{day}T0{draw.randrange(1, 9)}:{draw.randrange(10, 60)}:00Z"
        data = {
            "installation_no": number, "company": company, "step": name, "occurred_at": at, "recorded_at": at, "data_version": 1,
            "operation": "upsert", **about,
        }  # fmt: skip
        content = {
            "specversion": "1.0", "id": f"{number}-{place}", "source": f"urn:onething:company:{company}", "type": INSTALLATION_TYPE,
            "subject": number, "datacontenttype": "application/json", "data": data,
        }  # fmt: skip
        yield number, orjson.dumps(content)
        day += timedelta(days=draw.randint(1, 6))


async def _backlog(stage: Stage, plan: Plan, step: Step) -> dict[str, Any]:
    topics = await stage.make_topics("backlog")
    subjects = await _publish(stage, topics, plan, step("publishing the backlog", plan.events))
    async with stage.fresh_database("backlog") as admin_dsn:
        dsn = await _migrated(stage, "backlog")
        nowhere = stage.folder / "none"
        needs = Needs(
            kafka=stage.broker.address, topic_prefix=topics.prefix, dsns={"utilities": dsn},
            senders_file=nowhere, companies_file=nowhere, reader_token="", operator_token="",
        )  # fmt: skip
        port = next(stage.ports)
        part = service_part("utilities", "worker", port, stage.folder / "utilities.log", environment("utilities", port, needs))
        admin = await asyncpg.connect(admin_dsn)
        try:
            async with started(part) as process:
                taken_at = await _until(admin, _TAKEN, lambda n: n > 0, PATIENCE_SECONDS)
                done = step("merging and telling", plan.events)
                processes = {"process": process.pid, **stage.servers}
                async with Watch(processes) as watch:
                    began, seen, begun = await admin.fetchval(_TAKEN), 0, time.perf_counter()
                    while True:
                        taken = await admin.fetchval(_TAKEN)
                        done(taken - seen)
                        seen = taken
                        if taken == plan.events and not await admin.fetchval(_UNTOLD):
                            break
                        if time.perf_counter() - taken_at > PATIENCE_SECONDS:
                            raise BenchError(f"{taken} of {plan.events} events were taken within {PATIENCE_SECONDS:.0f} s")
                        await asyncio.sleep(0.1)
                    seconds = time.perf_counter() - begun
            stored = await admin.fetchval("select count(*) from utilities.installations where not deleted")
            if stored != subjects:
                raise BenchError(f"{stored} installations stand, and {subjects} were reported")
        finally:
            await admin.close()
    counted = plan.events - began
    return {
        "what": "events into state and snapshots",
        "n": counted,
        "seconds": round(seconds, 2),
        "per_second": round(counted / seconds),
        "cpu_us": {name: round(used / counted * 1e6, 1) for name, used in watch.cpu.items()},
        "peak_mib": round(watch.memory["process"].peak),
    }


_TAKEN: Final = "select coalesce(sum(next_offset), 0)::bigint from utilities.offsets"
_UNTOLD: Final = "select count(*) from utilities.installations where version > published_version"


async def _until(admin: asyncpg.Connection, statement: str, holds: Callable[[int], bool], seconds: float) -> float:
    begun = time.perf_counter()
    while not holds(await admin.fetchval(statement)):
        if time.perf_counter() - begun > seconds:
            raise BenchError(f"the worker did not begin within {seconds:.0f} s")
        await asyncio.sleep(0.05)
    return time.perf_counter()


async def _publish(stage: Stage, topics: Topics, plan: Plan, done: Callable[[int], None]) -> int:
    numbers: set[str] = set()
    batch: list[Message] = []
    async with Publisher(stage.broker.address, client_id="bench", timeout_seconds=60) as publisher:
        for number, value in events(plan):
            numbers.add(number)
            batch.append(Message(topics.utility_events, number, value))
            if len(batch) == PUBLISHED_AT_ONCE:
                await publisher.publish(batch)
                done(len(batch))
                batch = []
        await publisher.publish(batch)
        done(len(batch))
    return len(numbers)


async def _due_dates(stage: Stage, plan: Plan, step: Step) -> list[dict[str, Any]]:
    """Derived where there were none, then by another calendar: what happens when next year's holidays are published."""
    async with stage.fresh_database("due") as admin_dsn:
        dsn = await _migrated(stage, "due")
        admin = await asyncpg.connect(admin_dsn)
        try:
            step("storing installations", 0)
            await admin.execute("set search_path = utilities")
            await admin.copy_to_table(
                "installations", source=_installations(plan), format="text",
                columns=["subject", "events", "state", "version", "published_version", "timing"],
            )  # fmt: skip
            await admin.execute("analyze installations")
            limits = read_limits(LIMITS)
            longer = Calendar((*PUBLISHED.holidays, date(2027, 1, 1)), PUBLISHED.make_ups, date(2027, 12, 31))
            rows = []
            for what, by in (
                ("due dates, none before", limits),
                ("due dates, all anew", TimeLimits(limits.configuration, longer)),
            ):
                step(what, 0)
                rows.append(await _derived(stage, dsn, what, by, plan.installations))
            overdue = await admin.fetchval("select count(*) from due_dates where due_on < $1", date(2024, 9, 30))
            if not 0 < overdue < plan.installations:
                raise BenchError(f"{overdue} installations are overdue at the end of September 2024, which cannot be")
            rows.append(await _asked(admin, overdue))
        finally:
            await admin.close()
    return rows


async def _derived(stage: Stage, dsn: str, what: str, limits: TimeLimits, wanted: int) -> dict[str, Any]:
    async with await open_pool(dsn, application="bench", size=2) as pool:
        own, postgres = _own_cpu(), cpu_seconds(stage.postgres_pid)
        done = await deriving.bring_up_to_date(pool, limits)
    if done is None or done.installations != wanted:
        raise BenchError(f"{done} were derived of {wanted}")
    return {
        "what": what,
        "n": done.installations,
        "seconds": done.seconds,
        "per_second": round(done.installations / done.seconds) if done.seconds else 0,
        "cpu_us": {
            "process": round((_own_cpu() - own) / wanted * 1e6, 1),
            "postgres": round((cpu_seconds(stage.postgres_pid) - postgres) / wanted * 1e6, 1),
        },
    }


def _own_cpu() -> float:
    """Seconds of this process and of the helpers that it had."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


async def _asked(admin: asyncpg.Connection, overdue: int) -> dict[str, Any]:
    begun = time.perf_counter()
    found = await store.overdue(admin, date(2024, 2, 1), county="130607", company="company-1")
    return {
        "what": "who is overdue on a day, one company in one county",
        "n": len(found),
        "seconds": round(time.perf_counter() - begun, 3),
    }


async def _installations(plan: Plan) -> AsyncIterator[bytes]:
    draw = random.Random(plan.seed)
    state = orjson.dumps({"county": "130607", "company": "company-1"}).decode()
    version = int(datetime(2024, 9, 30, tzinfo=UTC).timestamp() * 1000)
    lines: list[str] = []
    for number in range(plan.installations):
        day = FIRST_DAY + timedelta(days=draw.randrange(1000))
        days: list[int | None] = [None] * (len(USUAL_ORDER) + 1)
        for place in range(draw.randint(1, 8)):
            days[place] = day.toordinal()
            day += timedelta(days=draw.randint(0, 6))
        pauses = ((day.toordinal(), day.toordinal() + draw.randint(1, 9)),) if draw.random() < 0.1 else ()
        timing = store.dump_timing(Timing(draw.choice(list(Service)), draw.choice(KINDS), days, pauses))
        lines.append(f"company-1/AZ{number:09}\t[]\t{state}\t{version}\t{version}\t{timing}\n")
        if len(lines) == PUBLISHED_AT_ONCE:
            yield "".join(lines).encode()
            lines = []
            await asyncio.sleep(0)
    yield "".join(lines).encode()
