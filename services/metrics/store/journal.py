"""The journal of changes, and what the counters moved by on each day of arrival."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

from services.metrics.domain.cases import MEASURES, Contribution
from services.metrics.domain.journal import Entry
from services.metrics.store.counters import BEGINNING, END
from shared.clock import SHANGHAI
from shared.postgres import Connection

_EPOCH: Final = date(1970, 1, 1).toordinal()

# Days of one contribution are one text: arrays of arrays would have to be of one length, and these may be null.
_APPEND: Final = """
insert into journal (source, case_no, why, item_before, county_before, days_before, item_after, county_after, days_after)
select s.source, e.case_no, e.why, e.item_before, e.county_before, e.days_before::date[], e.item_after, e.county_after,
    e.days_after::date[]
from unnest($1::smallint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
    with ordinality
    as e (source_id, case_no, why, item_before, county_before, days_before, item_after, county_after, days_after, place)
join sources as s on s.id = e.source_id
order by e.place
"""


class Scope(NamedTuple):
    """What is asked for: an item and a measure, in one unit or all, over days of arrival, both inclusive."""

    item: str
    measure: str
    county: str | None
    since: date
    until: date


class Key(NamedTuple):
    """Where a page of changes ended."""

    at: datetime
    id: int


async def append(db: Connection, entries: Sequence[Entry]) -> None:
    """Writes a batch's changes, in its transaction."""
    rows = [(entry.source_id, entry.case_no, entry.why, *_columns(entry.before), *_columns(entry.after)) for entry in entries]
    await db.execute(_APPEND, *(list(column) for column in zip(*rows, strict=True)))


def _columns(contribution: Contribution | None) -> tuple[str | None, str | None, str | None]:
    if contribution is None:
        return None, None, None
    days = ("null" if day is None else date.fromordinal(_EPOCH + day).isoformat() for day in contribution.days)
    return contribution.item, contribution.county, "{" + ",".join(days) + "}"


async def moves(db: Connection, scope: Scope) -> dict[str, int]:
    """By how much the counters of a scope moved, by why; over all business days. What moved nothing has no entry."""
    rows = await db.fetch(
        f"""
        select why, sum({scope.measure})::bigint as moved from moves
        where counted_on between $1 and $2 and item = $3 and ($4::text is null or county = $4)
        group by why
        """,
        scope.since, scope.until, scope.item, scope.county,
    )  # fmt: skip
    return {row["why"]: row["moved"] for row in rows}


def _changes(measure: str) -> str:
    """The changes of the journal that touch a measure: ``was`` and ``has`` say whether the scope counted it before and after."""
    place = MEASURES.index(measure) + 1
    return f"""
    select *
    from journal,
        lateral (select days_before[{place}] as day_before, days_after[{place}] as day_after) as days,
        lateral (
            select day_before is not null and item_before = $3 and ($4::text is null or county_before = $4) as was,
                day_after is not null and item_after = $3 and ($4::text is null or county_after = $4) as has
        ) as counts
    where at >= $1 and at < $2
        and (was or has) and (day_before, item_before, county_before) is distinct from (day_after, item_after, county_after)
    """


async def tally(db: Connection, scope: Scope) -> list[dict[str, Any]]:
    """How many changes of each kind there are (``changes``), by how much they moved the scope's counter (``moved``), and how
    many came into the scope (``came``) and left it (``went``)."""
    rows = await db.fetch(
        f"""
        select why, count(*) as changes, sum(has::int - was::int)::bigint as moved,
            count(*) filter (where has and not was) as came, count(*) filter (where was and not has) as went
        from ({_changes(scope.measure)}) as c group by why
        """,
        *_asked(scope),
    )
    return [dict(row) for row in rows]


async def listed(db: Connection, scope: Scope, *, why: str | None, after: Key | None, most: int) -> list[dict[str, Any]]:
    """Up to ``most`` changes of a scope, the newest first, from ``after`` on."""
    at, number = after or (None, None)
    rows = await db.fetch(
        f"""
        select id, at, source, case_no, why,
            case when day_before is not null then item_before end as item_before,
            case when day_before is not null then county_before end as county_before, day_before,
            case when day_after is not null then item_after end as item_after,
            case when day_after is not null then county_after end as county_after, day_after
        from ({_changes(scope.measure)}) as c
        where ($5::text is null or why = $5) and ($6::timestamptz is null or (at, id) < ($6, $7::bigint))
        order by at desc, id desc limit $8
        """,
        *_asked(scope), why, at, number, most,
    )  # fmt: skip
    return [dict(row) for row in rows]


def _asked(scope: Scope) -> tuple[datetime, datetime, str, str | None]:
    """The first parameters of :func:`_changes`."""
    until = min(max(scope.until, BEGINNING), END)
    return _midnight(max(min(scope.since, END), BEGINNING)), _midnight(until + timedelta(days=1)), scope.item, scope.county


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), SHANGHAI)


async def prune(db: Connection, before: date) -> int:
    """Forgets what arrived before a day; returns how many changes that were."""
    await db.execute("delete from moves where counted_on < $1", before)
    status = await db.execute("delete from journal where at < $1", _midnight(before))
    return int(status.rpartition(" ")[2])
