"""What a part's row is made of: rates, CPU, memory, what is stored, and the figures to be compared."""

from collections import Counter
from typing import Any, Final

import asyncpg

from benchmarks.load import Cell
from benchmarks.usage import Watch
from shared.counties import ROSTER

MEASURES: Final = (
    "handled", "applied", "accepted", "completed", "completed_on_time", "not_accepted", "returned", "withdrawn", "online",
)  # fmt: skip
Row = dict[str, Any]


def row(name: str, what: str, events: int, seconds: float, cpu: dict[str, float]) -> Row:
    """What every part says. ``events_per_second`` is null when too few were left to time."""
    timed = events > 0 and seconds >= 0.01
    return {
        "name": name,
        "what": what,
        "events": events,
        "seconds": round(seconds, 3),
        "events_per_second": round(events / seconds, 1) if timed else None,
        "cpu_us_per_event": {of: round(used / events * 1e6, 2) for of, used in cpu.items()} if timed else None,
    }


def memory(watch: Watch) -> Row:
    """The process's memory: flat or not can be seen in the samples."""
    own = watch.memory["process"]
    return {
        "peak_mib": own.peak,
        "end_mib": own.end,
        "samples_mib": own.samples,
        "servers_mib": watch.trees_mib,
    }


async def cells(db: asyncpg.Connection) -> Counter[Cell]:
    """Every counter of the roster's counties that is not zero, as the api reads it."""
    sums = ", ".join(f"sum({measure})::bigint as {measure}" for measure in MEASURES)
    rows = await db.fetch(
        f"select item, county, day, {sums} from metrics.counted where county = any($1) group by item, county, day",
        [county.code for county in ROSTER],
    )
    return Counter({(r["item"], r["county"], r["day"], m): r[m] for r in rows for m in MEASURES if r[m]})


async def sizes(db: asyncpg.Connection) -> Row:
    """What is stored, in bytes, for sizing."""
    found = await db.fetchrow(
        "select (select count(*) from metrics.cases) as cases, pg_relation_size('metrics.cases') as cases_heap,"
        " pg_indexes_size('metrics.cases') as cases_indexes, pg_table_size('metrics.cases') as cases_table,"
        " (select count(*) from metrics.counters) as counters, pg_total_relation_size('metrics.counters') as counters_total"
    )
    updates = await db.fetchrow("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relid = 'metrics.cases'::regclass")
    return dict(found) | {"updates": updates["n_tup_upd"], "updates_in_place": updates["n_tup_hot_upd"]}
