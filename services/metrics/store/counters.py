"""Counters: folding what transactions moved, and summing for readers."""

from datetime import date, timedelta
from typing import Any, Final

from services.metrics.domain.cases import MEASURES
from services.metrics.domain.days_without import Handled
from shared.postgres import Connection

BEGINNING: Final = date(1, 2, 1)
"""Before all business days; a month later than the calendar's first day, which has none before it."""

END: Final = date(9999, 11, 30)
"""After all business days, and with a month to spare likewise."""

DAY: Final = timedelta(days=1)

_MEASURE_COLUMNS: Final = ", ".join(MEASURES)
_SUMS: Final = ", ".join(f"sum({measure})::bigint as {measure}" for measure in MEASURES)

_MOVED: Final = ", ".join(f"sum({measure}) as {measure}" for measure in MEASURES)
_ADDED: Final = ", ".join(f"{measure} = kept.{measure} + excluded.{measure}" for measure in MEASURES)

_FOLD_DELTAS: Final = f"""
with folded as (
    delete from counter_deltas where id in (select id from counter_deltas order by id limit $1) returning *
),
each as materialized (
    select f.counted_on, f.why, m.*
    from folded as f,
        unnest(f.item, f.county, f.day, {", ".join(f"f.{measure}" for measure in MEASURES)})
        as m (item, county, day, {_MEASURE_COLUMNS})
),
written as (
    insert into counters as kept (item, county, day, {_MEASURE_COLUMNS})
    select item, county, day, {_MOVED} from each group by item, county, day order by item, county, day
    on conflict (item, county, day) do update set {_ADDED}
),
told as (
    insert into moves as kept (counted_on, item, county, why, {_MEASURE_COLUMNS})
    select counted_on, item, county, why, {_MOVED} from each group by 1, 2, 3, 4 order by 1, 2, 3, 4
    on conflict (counted_on, item, county, why) do update set {_ADDED}
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


async def fold_all(db: Connection) -> None:
    """Folds all deltas of tables that nobody else folds: a rebuild's own, before they become the live ones."""
    while await db.fetchval(_FOLD_DELTAS, 500):
        pass


_TAKEN_AWAY: Final = ", ".join(f"-{measure}" for measure in MEASURES)

_SPAN: Final = f"""
select item, county, day, {_MEASURE_COLUMNS} from counters where day between $1 and $3 and {{of}}
union all
select item, county, day, {_MEASURE_COLUMNS} from counters where day between $4 and $2 and {{of}}
union all
select item, county, month, {_MEASURE_COLUMNS} from counters_by_month where month > $3 and month < $4 and {{of}}
"""
"""What lies between $1 and $2: whole months, and the days before and after them (:func:`whole_months`)."""

_ALL_BUT_LATER: Final = f"""
select item, county, {_MEASURE_COLUMNS} from totals where {{of}}
union all
select item, county, {_TAKEN_AWAY} from counters where day > $1 and day < $2 and {{of}}
union all
select item, county, {_TAKEN_AWAY} from counters_by_month where month >= $2 and {{of}}
"""
"""What lies up to $1, as all that there is without what is later; $2 is the first of the next month. Nearly every question is for
today, and after it lies next to nothing."""


def whole_months(since: date, as_of: date) -> tuple[date, date]:
    """Where the whole months of a span lie: the last day before them, and the first day after them.

    Where there is none, all days of the span lie up to the first of the two.
    """
    first = since if since.day == 1 else _next_month(since)
    after = _next_month(as_of) if (as_of + DAY).day == 1 else as_of.replace(day=1)
    if first >= after:
        return as_of, as_of + DAY
    return first - DAY, after


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


async def sums(
    db: Connection, *, group: str, item: str | None, since: date | None, as_of: date, county: str | None = None
) -> list[dict[str, Any]]:
    """Counters summed by ``group``: ``county``, ``item``, ``day`` or ``month`` (first of the month), over business days
    from ``since`` (or the beginning) to ``as_of``, both inclusive. Groups without a counter have no row.

    What was committed a moment ago shows when it is folded, within about half a second: to unpack what waits at each
    question would cost readers most when they have least time, under load.
    """
    key = {"county": "county", "item": "item", "day": "day", "month": "date_trunc('month', day)::date"}[group]
    as_of = min(as_of, END)
    if since is None and group in ("county", "item"):
        span, bounds = _ALL_BUT_LATER, [as_of, _next_month(as_of)]
    else:
        begin = max(since or BEGINNING, BEGINNING)
        span, bounds = _SPAN, [begin, as_of, *((as_of, as_of + DAY) if group == "day" else whole_months(begin, as_of))]
    # Only what is asked for stands in the statement: the server then plans each of the few that come of it once.
    chosen = [(name, value) for name, value in (("item", item), ("county", county)) if value is not None]
    of = " and ".join(["true", *(f"{name} = ${len(bounds) + n}" for n, (name, _) in enumerate(chosen, 1))])
    rows = await db.fetch(
        f"select {key} as key, {_SUMS} from ({span.format(of=of)}) as span group by 1", *bounds, *(value for _, value in chosen)
    )
    return [dict(row) for row in rows]


async def handled_days(db: Connection, as_of: date) -> list[Handled]:
    """The first and last business day up to ``as_of`` with a handled case, of each item and county that has one."""
    rows = await db.fetch(
        "select item, county, min(day) as first, max(day) as last from counters where handled > 0 and day <= $1"
        " group by item, county",
        as_of,
    )
    return [Handled(row["item"], row["county"], row["first"], row["last"]) for row in rows]


async def waiting(db: Connection) -> int:
    """How many batches are counted and not yet folded."""
    return int(await db.fetchval("select count(*) from counter_deltas"))
