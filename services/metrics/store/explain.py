"""What stands behind the figures: the cases of a number, one case, and those that no figure counts yet."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from services.metrics.domain.cases import MEASURES, CaseState, load_events
from shared.postgres import Connection


class Place(NamedTuple):
    """Where a page ended, in the order of :func:`behind`."""

    day: date
    case_no: str
    source: str


_SPANS: Final = (1, 16, 256)
"""Days that are looked through, one span after the other, until a page is full; after them all of them."""

_EACH_MEASURE: Final = ", ".join(f"c.{measure}_on" for measure in MEASURES)
_SHOWN: Final = f"s.source, c.case_no, c.county, c.item, c.data_version, c.channel, c.promised_on, {_EACH_MEASURE}"

_NEWEST: Final = "select max(handled_on) from cases where handled_on <= $1"


def _days(first: str, last: str) -> str:
    """The days from ``last`` back to ``first`` on which any case was handled first: each is one probe of ``cases_by_day``.

    Not every day of the calendar: one case dated a century ago would make a long list of them.
    """
    return f"""
    with recursive days as (
        select max(handled_on) as day from cases where handled_on <= {last}
        union all
        select (select max(handled_on) from cases where handled_on < days.day) from days where days.day > {first}
    )
    """


def _by_first_day(measure: str) -> str:
    """Cases of a measure whose day is the case's first, so that each day gives a page at most."""
    return f"""
    {_days("$3", "$4")}
    select c.* from days, lateral (
        select {_SHOWN}, c.{measure}_on as day
        from cases as c join sources as s on s.id = c.source_id
        where c.handled_on = days.day and c.item = any($1::text[]) and c.county = any($2::text[]) and c.{measure}_on is not null
            and (c.handled_on < $5 or (c.case_no, s.source) > ($6, $7))
        order by c.case_no, s.source limit $8
    ) as c
    where days.day >= $3
    order by c.day desc, c.case_no, c.source limit $8
    """


def _by_later_day(measure: str) -> str:
    """Cases of any other measure. No index has its day, but it is never before the case's first day, and the counters know
    how many cases there are: the cases are read from the newest back until that many are found.
    """
    return f"""
    {_days("'-infinity'", "$4")},
    listed as (
        select c.* from days, lateral (
            select {_SHOWN}, c.{measure}_on as day
            from cases as c join sources as s on s.id = c.source_id
            where c.handled_on = days.day and c.item = any($1::text[]) and c.county = any($2::text[])
                and c.{measure}_on between $3 and $4
            offset 0 -- kept apart, so that the days are gone through one by one
        ) as c
        limit (
            select coalesce(sum({measure}), 0)::bigint from counted
            where item = any($1::text[]) and county = any($2::text[]) and day between $3 and $4
        )
    )
    select * from listed
    where day < $5 or (case_no, source) > ($6, $7)
    order by day desc, case_no, source limit $8
    """


_BEHIND: Final = {m: _by_first_day(m) if m in ("handled", "online") else _by_later_day(m) for m in MEASURES}


async def behind(
    db: Connection,
    *,
    items: Sequence[str],
    counties: Sequence[str],
    measure: str,
    since: date | None,
    as_of: date,
    after: Place | None,
    most: int,
) -> list[dict[str, Any]]:
    """Up to ``most`` cases that count for ``measure`` on business days from ``since`` to ``as_of``: newest day first, then
    by case number and source, from ``after`` on. Call it in one snapshot with what shall agree with it."""
    if after is not None and after.day > as_of:
        after = None
    until = after.day if after else as_of
    newest = await db.fetchval(_NEWEST, until)
    if newest is None:
        return []
    rows: list[Any] = []
    # A place that is before all others stands for "from the top".
    place = after or Place(date.max, "", "")
    for begin in [*(_days_before(newest, span - 1) for span in _SPANS), date.min]:
        begins = max(begin, since or date.min)
        rows = await db.fetch(_BEHIND[measure], items, counties, begins, until, *place, most)
        if len(rows) == most or begins != begin:
            break
    return [dict(row) for row in rows]


def _days_before(day: date, days: int) -> date:
    return date.fromordinal(max(1, day.toordinal() - days))


async def case(db: Connection, source: str, case_no: str) -> CaseState | None:
    """The state of one case, or ``None`` when no event of it has been counted."""
    row = await db.fetchrow(
        """
        select c.data_version, c.events from cases as c join sources as s on s.id = c.source_id
        where s.source = $1 and c.case_no = $2
        """,
        source,
        case_no,
    )
    return None if row is None else CaseState(row["data_version"], load_events(row["events"]))


_UNPLACED: Final = "(c.county is null or c.item is null) and not c.deleted"
"""As the partial index has it, or it is not used."""


async def unplaced(db: Connection, *, after: tuple[str, str] | None, most: int) -> list[dict[str, Any]]:
    """Up to ``most`` cases without county or item, by source and case number, from ``after`` (source, case number) on."""
    source, case_no = after or (None, "")
    rows = await db.fetch(
        f"""
        select s.source, c.case_no, c.county, c.item, c.data_version, c.latest_at
        from cases as c join sources as s on s.id = c.source_id
        where {_UNPLACED}
            and (c.source_id, c.case_no) > (coalesce((select id from sources where source = $1), 0), $2)
        order by c.source_id, c.case_no limit $3
        """,
        source,
        case_no,
        most,
    )
    return [dict(row) for row in rows]


async def count_unplaced(db: Connection) -> int:
    """How many cases no figure counts because no event has named their county or item."""
    return int(await db.fetchval(f"select count(*) from cases as c where {_UNPLACED}"))
