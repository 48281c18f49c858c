"""Recounting the cases: what the counters must say, where they differ, and setting them right."""

from datetime import date
from typing import Any, Final, NamedTuple

from services.metrics.domain.cases import MEASURES
from shared.postgres import Connection

MOST_SHOWN: Final = 1000
"""Counters that differ are listed up to this many; all of them are counted."""

PATIENCE_SECONDS: Final = 600.0
"""A recount reads every case: it may take longer than what a reader otherwise waits for."""

_MEASURE_COLUMNS: Final = ", ".join(MEASURES)
_OF: Final = "($1::text is null or item = $1) and ($2::text is null or county = $2)"

_SUMS: Final = ", ".join(f"sum({m})::bigint as {m}" for m in MEASURES)


def _differing(recounted: str, counted: str, *key: str) -> str:
    """A row for each measure in which two queries differ that give a row a key with a column for each measure.

    Rows are compared whole: millions that are equal are never spread out to one row a measure.
    """
    both = (f"({', '.join(f'{side}.{m}' for m in MEASURES)})" for side in ("r", "c"))
    measures = ", ".join(f"('{m}', coalesce(r.{m}, 0), coalesce(c.{m}, 0))" for m in MEASURES)
    day = "day" if "day" in key else "null::date as day"
    return f"""
    select item, county, {day}, measure, recount, counter
    from ({recounted}) as r full join ({counted}) as c using ({", ".join(key)}),
        lateral (values {measures}) as v (measure, recount, counter)
    where {" is distinct from ".join(both)} and recount <> counter
"""


# One reading of the cases for all measures: each grouping set is the count of one of them. In each, the other days are null.
_RECOUNTED: Final = f"""
    select item, county, coalesce({", ".join(f"{m}_on" for m in MEASURES)}) as day, count(*)::bigint as recount,
        case {" ".join(f"when grouping({m}_on) = 0 then '{m}'" for m in MEASURES)} end as measure
    from cases where {_OF}
    group by grouping sets ({", ".join(f"(item, county, {m}_on)" for m in MEASURES)})
"""

_BY_MEASURE: Final = ", ".join(f"coalesce(sum(recount) filter (where measure = '{m}'), 0)::bigint as {m}" for m in MEASURES)

_DAYS: Final = _differing(
    f"""
    select item, county, day, {_BY_MEASURE}
    from ({_RECOUNTED}) as every_day where day is not null group by item, county, day
    """,
    f"select item, county, day, {_SUMS} from counted where {_OF} group by item, county, day",
    "item", "county", "day",
)  # fmt: skip

# Years are read by whole months, which the database keeps beside the days: they must be what the days add up to.
_MONTHS: Final = _differing(
    f"select item, county, date_trunc('month', day)::date as day, {_SUMS} from counters where {_OF} group by 1, 2, 3",
    f"select item, county, month as day, {_MEASURE_COLUMNS} from counters_by_month where {_OF}",
    "item", "county", "day",
)  # fmt: skip

# So must be the totals over all days that `county-metrics` tells of. They have no day.
_TOTALS: Final = _differing(
    f"select item, county, {_SUMS} from counters where {_OF} group by item, county",
    f"select item, county, {_MEASURE_COLUMNS} from totals where {_OF}",
    "item", "county",
)  # fmt: skip

# A row even where nothing differs: it says how many cases were looked at.
_DRIFT: Final = f"""
with differing as (
    select 'day' as span, * from ({_DAYS}) as d union all select 'month', * from ({_MONTHS}) as m
    union all select 'total', * from ({_TOTALS}) as t
)
select d.*, count(*) over () as differing, (select count(*) from cases where {_OF}) as checked
from (select 1) as always left join differing as d on true
order by span, item, county, day, measure limit {MOST_SHOWN}
"""


def _correction(differing: str, table: str, day: str = "") -> str:
    """Moves the counters of ``table`` by what is missing; ``day`` is its column for the day, where it has one."""
    of_day, key = (", day", f"item, county, {day}") if day else ("", "item, county")
    return f"""
    insert into {table} as c ({key}, {_MEASURE_COLUMNS})
    select item, county{of_day},
        {", ".join(f"coalesce(sum(recount - counter) filter (where measure = '{m}'), 0)" for m in MEASURES)}
    from ({differing}) as d group by item, county{of_day}
    on conflict ({key}) do update set {", ".join(f"{m} = c.{m} + excluded.{m}" for m in MEASURES)}
    """


_CORRECT_MONTHS: Final = _correction(_MONTHS, "counters_by_month", "month")
_CORRECT_TOTALS: Final = _correction(_TOTALS, "totals")
# The figures move thereby, and this is told as all that moves them is: in the same statement, of the same differences.
_MISSING: Final = ", ".join(f"coalesce(sum(recount - counter) filter (where measure = '{m}'), 0)" for m in MEASURES)
_CORRECT_DAYS: Final = f"""
with differing as materialized ({_DAYS}),
told as (
    insert into moves as c (counted_on, item, county, why, {_MEASURE_COLUMNS})
    select (now() at time zone 'Asia/Shanghai')::date, item, county, 'recount', {_MISSING} from differing group by item, county
    on conflict (counted_on, item, county, why) do update set {", ".join(f"{m} = c.{m} + excluded.{m}" for m in MEASURES)}
)
{_correction("select * from differing", "counters", "day")}
"""


class Drift(NamedTuple):
    """How many cases were looked at, how many counters differ, and the first of those: ``span, item, county, day,
    measure, recount, counter``; of ``span`` ``month`` the day is its first, of ``total`` there is none, and the days' counters
    are the recount. None differs: that is how it must be."""

    checked: int
    differing: int
    rows: list[dict[str, Any]]


async def drift(db: Connection, item: str | None = None, county: str | None = None) -> Drift:
    """Recounts the cases and compares with the counters, in one statement, so in one snapshot of the database."""
    return _drift(await db.fetch(_DRIFT, item, county, timeout=PATIENCE_SECONDS))


async def correct(db: Connection) -> Drift:
    """Sets every counter to what the cases say; returns what differed. Needs a transaction, at READ COMMITTED.

    The counters move by what is missing. What a batch adds meanwhile moves cases and counters alike, so the difference that
    one snapshot saw stays right, whoever counts on: no worker waits. Only folding does (its advisory lock), which writes the
    same rows; so do two corrections, which would both add what is missing.
    """
    # A statement of its own: the snapshots of the next ones are taken behind the lock.
    await db.execute("select pg_advisory_xact_lock(hashtext('metrics.fold_deltas'))", timeout=PATIENCE_SECONDS)
    found = await drift(db)
    if found.differing:
        # The days last: their correction moves the others too.
        await db.execute(_CORRECT_MONTHS, None, None, timeout=PATIENCE_SECONDS)
        await db.execute(_CORRECT_TOTALS, None, None, timeout=PATIENCE_SECONDS)
        await db.execute(_CORRECT_DAYS, None, None, timeout=PATIENCE_SECONDS)
    return found


def _drift(rows: list[Any]) -> Drift:
    names = ("span", "item", "county", "day", "measure", "recount", "counter")
    found = [{name: row[name] for name in names} for row in rows if row["measure"] is not None]
    return Drift(int(rows[0]["checked"]), int(rows[0]["differing"]) if found else 0, found)


async def recount(
    db: Connection, *, item: str | None, county: str | None, since: date | None, as_of: date
) -> tuple[int, list[dict[str, Any]]]:
    """How many cases were looked at, and their count by county (``key``) in every measure, without using a counter."""
    days = [f"{m}_on <= $4 and ($3::date is null or {m}_on >= $3)" for m in MEASURES]
    counts = ", ".join(f"count(*) filter (where {day}) as {m}" for m, day in zip(MEASURES, days, strict=True))
    rows = await db.fetch(
        f"select county as key, count(*) as looked_at, {counts} from cases where {_OF} group by county",
        item, county, since, as_of, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    return sum(row["looked_at"] for row in rows), [dict(row) for row in rows]
