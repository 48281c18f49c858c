"""Recounting the cases: what the counters must say, where they differ, and setting them right."""

from datetime import date
from typing import Any, Final, NamedTuple

from services.metrics.domain.cases import MEASURES
from shared.postgres import Connection

MOST_SHOWN: Final = 1000
"""Counters that differ are listed up to this many; all of them are counted."""

PATIENCE_SECONDS: Final = 600.0
"""A recount reads every case: it may take longer than what a reader otherwise waits for."""

_OF = "($1::text is null or item = $1) and ($2::text is null or county = $2)"

# One reading of the cases for all measures: each grouping set is the count of one of them. In each, the other days are null.
_RECOUNTED: Final = f"""
    select item, county, coalesce({", ".join(f"{m}_on" for m in MEASURES)}) as day, count(*)::bigint as recount,
        case {" ".join(f"when grouping({m}_on) = 0 then '{m}'" for m in MEASURES)} end as measure
    from cases where {_OF}
    group by grouping sets ({", ".join(f"(item, county, {m}_on)" for m in MEASURES)})
"""

_COMPARED: Final = f"""
recounted as ({_RECOUNTED}),
shown as (
    select item, county, day, measure, sum(n)::bigint as counter
    from counted, lateral (values {", ".join(f"('{m}', {m})" for m in MEASURES)}) as v (measure, n)
    where {_OF}
    group by item, county, day, measure
),
differing as (
    select item, county, day, measure, coalesce(recount, 0) as recount, coalesce(counter, 0) as counter
    from (select * from recounted where day is not null) as r full join shown as s using (item, county, day, measure)
    where coalesce(recount, 0) <> coalesce(counter, 0)
)
"""

# A row even where nothing differs: it says how many cases were looked at.
_DIFFERENCES: Final = f"""
select d.*, count(*) over () as differing, (select count(*) from cases where {_OF}) as checked
from (select 1) as always left join differing as d on true
order by item, county, day, measure limit {MOST_SHOWN}
"""

_DRIFT: Final = f"with {_COMPARED} {_DIFFERENCES}"

# The counters move by what is missing. What a batch adds meanwhile moves cases and counters alike, so the difference that one
# snapshot saw stays right, whoever counts on: nobody has to wait.
_CORRECT: Final = f"""
with {_COMPARED},
corrected as (
    insert into counters as c (item, county, day, {", ".join(MEASURES)})
    select item, county, day,
        {", ".join(f"coalesce(sum(recount - counter) filter (where measure = '{m}'), 0)" for m in MEASURES)}
    from differing group by item, county, day order by item, county, day
    on conflict (item, county, day) do update set {", ".join(f"{m} = c.{m} + excluded.{m}" for m in MEASURES)}
)
{_DIFFERENCES}
"""


class Drift(NamedTuple):
    """How many cases were looked at, how many counters differ, and the first of those: ``item, county, day, measure,
    recount, counter``. None differs: that is how it must be."""

    checked: int
    differing: int
    rows: list[dict[str, Any]]


async def drift(db: Connection, item: str | None = None, county: str | None = None) -> Drift:
    """Recounts the cases and compares with the counters, in one statement, so in one snapshot of the database."""
    return _drift(await db.fetch(_DRIFT, item, county, timeout=PATIENCE_SECONDS))


async def correct(db: Connection) -> Drift:
    """Sets every counter to what the cases say; returns what differed. Needs a transaction, at READ COMMITTED.

    One at a time (advisory lock): two would both add what is missing.
    """
    # A statement of its own: the snapshot of the next one is taken behind the lock.
    await db.execute("select pg_advisory_xact_lock(hashtext('metrics.correct'))", timeout=PATIENCE_SECONDS)
    return _drift(await db.fetch(_CORRECT, None, None, timeout=PATIENCE_SECONDS))


def _drift(rows: list[Any]) -> Drift:
    names = ("item", "county", "day", "measure", "recount", "counter")
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
