"""Counters: folding what transactions moved, and summing for readers."""

from datetime import date
from typing import Any, Final

from services.metrics.domain.cases import MEASURES
from shared.postgres import Connection

_MEASURE_COLUMNS: Final = ", ".join(MEASURES)
_SUMS: Final = ", ".join(f"sum({measure})::bigint as {measure}" for measure in MEASURES)

_FOLD_DELTAS: Final = f"""
with folded as (
    delete from counter_deltas where id in (select id from counter_deltas order by id limit $1) returning *
),
moved as (
    select m.item, m.county, m.day, {", ".join(f"sum(m.{measure}) as {measure}" for measure in MEASURES)}
    from folded as f,
        unnest(f.item, f.county, f.day, {", ".join(f"f.{measure}" for measure in MEASURES)})
        as m (item, county, day, {_MEASURE_COLUMNS})
    group by m.item, m.county, m.day
),
written as (
    insert into counters (item, county, day, {_MEASURE_COLUMNS})
    select * from moved order by item, county, day
    on conflict (item, county, day) do update
    set {", ".join(f"{measure} = counters.{measure} + excluded.{measure}" for measure in MEASURES)}
)
select count(*) from folded
"""


async def fold_deltas(db: Connection, most: int = 500) -> int:
    """Folds up to ``most`` batches' deltas into the counters, in one statement; returns how many.

    One folder at a time (advisory lock, to be held in a transaction); a second one folds nothing.
    """
    if not await db.fetchval("select pg_try_advisory_xact_lock(hashtext('metrics.fold_deltas'))"):
        return 0
    return int(await db.fetchval(_FOLD_DELTAS, most))


async def sums(
    db: Connection, *, group: str, item: str | None, since: date | None, as_of: date, county: str | None = None
) -> list[dict[str, Any]]:
    """Counters summed by ``group``: ``county``, ``item``, ``day`` or ``month`` (first of the month), over business days
    from ``since`` (or the beginning) to ``as_of``, both inclusive. Groups without a counter have no row."""
    key = {"county": "county", "item": "item", "day": "day", "month": "date_trunc('month', day)::date"}[group]
    rows = await db.fetch(
        f"""
        select {key} as key, {_SUMS} from counted
        where day <= $1 and ($2::date is null or day >= $2) and ($3::text is null or item = $3)
            and ($4::text is null or county = $4)
        group by 1
        """,
        as_of,
        since,
        item,
        county,
    )
    return [dict(row) for row in rows]
