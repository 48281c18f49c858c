"""A database that has been in use: cases stored before, and years of daily counters of a province.

The cases that are copied were counted by the worker, and their counters are handed to it as deltas, which it folds in. So
whatever the worker derives is there, and figures agree with cases.
"""

import asyncio
from collections import Counter
from typing import Final

import asyncpg
import httpx

from benchmarks.load import Advance, Cell, Workload, publish
from benchmarks.stage import BenchError, Running, Stage
from deploy.local.parts import tail
from shared.items import CATALOGUE

COPIED: Final = 20_000
"""Cases that the worker counts itself; the others are copies of these under random numbers."""
GROWN_PERCENT: Final = 85
"""How full the pages of cases are that the worker counted: 200,000 of them take 1,110 bytes each, their rows 940."""
COUNTIES: Final = 180
AT_ONCE: Final = 10
"""Counties in one statement."""
MADE_ITEMS: Final = 27
"""Beside the catalogue's 13: 40 items."""
FIRST: Final = "2023-01-01"
LAST: Final = "2025-12-31"

_MEASURES: Final = (
    "handled, applied, accepted, completed, completed_on_time, not_accepted, returned, withdrawn, online"
)  # fmt: skip


def shape(stored: int) -> tuple[int, int]:
    """(cases that are counted, how often each stands in the end), so that their product is nearly ``stored``.

    >>> shape(5_000_000), shape(1000)
    ((20000, 250), (200, 5))
    """
    copies = max(5, -(-stored // COPIED))
    return max(1, stored // copies), copies


async def counted(db: asyncpg.Connection, topic: str) -> int:
    """How many records of ``topic`` the database says are counted."""
    return int(await db.fetchval("select coalesce(sum(next_offset), 0) from metrics.offsets where topic = $1", topic))


async def until_counted(db: asyncpg.Connection, worker: Running, topic: str, goal: int, seconds: float) -> None:
    """Waits until ``goal`` records of ``topic`` are counted."""
    try:
        async with asyncio.timeout(seconds):
            while await counted(db, topic) < goal:
                worker.refuse_dead()
                await asyncio.sleep(0.02)
    except TimeoutError:
        done = await counted(db, topic)
        raise BenchError(
            f"{done} of {goal} events were counted within {seconds:.0f} s; the worker's log ends:\n{tail(worker.part.log)}"
        ) from None


async def until_folded(db: asyncpg.Connection, worker: Running, seconds: float) -> None:
    """Waits until no delta is left to fold."""
    try:
        async with asyncio.timeout(seconds):
            while await db.fetchval("select exists (select from metrics.counter_deltas)"):
                worker.refuse_dead()
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise BenchError(f"deltas were not folded within {seconds:.0f} s") from None


async def until_told(worker: Running, db: asyncpg.Connection, seconds: float) -> None:
    """Waits until every counter stands on the worker's topic, which is a new one: that happens once in a topic's life."""
    wanted = await db.fetchval("select count(*) from metrics.totals") * len(_MEASURES.split(", "))
    try:
        async with asyncio.timeout(seconds), httpx.AsyncClient(base_url=worker.url) as client:
            while True:
                worker.refuse_dead()
                shown = dict(line.rsplit(" ", 1) for line in (await client.get("/metrics")).text.splitlines() if line[0] != "#")
                if float(shown["onething_metrics_totals_total"]) >= wanted:
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise BenchError(f"the counters were not told within {seconds:.0f} s") from None


async def store_cases(stage: Stage, database: str, db: asyncpg.Connection, stored: int, advance: Advance) -> Counter[Cell]:
    """Stores about ``stored`` completed cases; returns what the counters hold of them."""
    cases, copies = shape(stored)
    load = Workload(seed=77, events=3 * cases, cases=cases)
    topics = await stage.make_topics("stored")
    await publish(stage.broker.address, topics.case_events, load.events())
    async with stage.metrics("worker", database, topics) as worker:
        await until_counted(db, worker, topics.case_events, load.size, seconds=120 + load.size / 1000)
        await until_folded(db, worker, seconds=120)
        advance(cases)
        columns = await db.fetch(
            "select column_name::text as name from information_schema.columns where table_schema = 'metrics'"
            " and table_name = 'cases' and is_generated = 'NEVER' order by ordinal_position"
        )
        names = [row["name"] for row in columns]
        fillfactor = await db.fetchval(
            "select substring(array_to_string(reloptions, ' ') from 'fillfactor=([0-9]+)') from pg_class"
            " where oid = 'metrics.cases'::regclass"
        )
        # A new random number, wherever the old one stands in the row.
        fresh = {"case_no": "n.case_no", "events": "replace(c.events, c.case_no, n.case_no)"}
        await db.execute("create temporary table counted_cases as select * from metrics.cases")
        # Rows that grew leave full pages behind; copies come at their full size and would leave the room that young rows need.
        await db.execute(f"alter table metrics.cases set (fillfactor = {GROWN_PERCENT})")
        for _ in range(copies - 1):
            await db.execute(
                f"""
                insert into metrics.cases ({", ".join(names)})
                select {", ".join(fresh.get(name, f"c.{name}") for name in names)} from counted_cases as c,
                lateral (
                    select upper(replace(gen_random_uuid()::text || substr(gen_random_uuid()::text, 1, 12), '-', '')
                        || substr(md5(c.case_no), 1, 1)) as case_no
                ) as n
                """
            )
            advance(cases)
        await db.execute(
            f"""
            insert into metrics.counter_deltas (item, county, day, {_MEASURES})
            select array_agg(item), array_agg(county), array_agg(day),
                {", ".join(f"array_agg({measure} * {copies - 1})" for measure in _MEASURES.split(", "))}
            from metrics.counters group by item, county
            """
        )
        await until_folded(db, worker, seconds=120)
    await db.execute("drop table counted_cases")
    await db.execute(f"alter table metrics.cases set (fillfactor = {fillfactor})")
    await _settle(db)
    return Counter({cell: n * copies for cell, n in load.expected().items()})


async def store_counters(db: asyncpg.Connection, counties: int, advance: Advance) -> int:
    """Daily counters of three years for ``counties`` counties that no roster has, under 40 items; returns how many.

    Written where the fold would have put them; the table's own trigger adds the months.
    """
    for first in range(0, counties, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, counties))
        await db.execute(
            f"""
            insert into metrics.counters (item, county, day, {_MEASURES})
            select i, c, d::date, 9, 9, 8, 7, 6, 1, 1, 1, 4
            from unnest($1::text[] || array(select 'made-' || n from generate_series(1, {MADE_ITEMS}) as n)) as i,
                unnest($2::text[]) as c, generate_series(date '{FIRST}', date '{LAST}', interval '1 day') as d
            order by i, d, c
            """,
            [item.code for item in CATALOGUE], [f"9{number:05}" for number in numbers],
        )  # fmt: skip
        advance(len(numbers))
    await _settle(db)
    return int(await db.fetchval("select count(*) from metrics.counters where county like '9%'"))


async def _settle(db: asyncpg.Connection) -> None:
    """What autovacuum would have done by the time."""
    await db.execute("vacuum (analyze) metrics.cases")
    await db.execute("vacuum (analyze) metrics.counters")
    await db.execute("vacuum (analyze) metrics.counters_by_month")
    await db.execute("checkpoint")
