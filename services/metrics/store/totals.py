"""Totals of the counters over all business days, and what the topic was told of them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from services.metrics.domain.cases import MEASURES
from shared.postgres import Connection

LOCK: Final = "metrics.totals"
"""Names the advisory lock of the one publisher."""


class Counter(NamedTuple):
    """Which counter."""

    county: str
    item: str
    measure: str


class Total(NamedTuple):
    """A counter's total as it is told."""

    counter: Counter
    total: int
    version: int
    changed_at: datetime


_MEASURE_COLUMNS: Final = ", ".join(MEASURES)


def _row(side: str) -> str:
    return f"({', '.join(f'{side}.{m}' for m in MEASURES)})"


# Most stand as they were noted: they are passed over by whole rows, before any is spread out to a row for each measure.
# Versions rise by the clock, so that they are above those that a database remembered before it was put back.
_NOTE: Final = f"""
with moved as materialized (
    select county, item, {", ".join(f"totals.{m}" for m in MEASURES)}
    from totals left join noted_totals as noted using (county, item)
    where {_row("totals")} is distinct from {_row("noted")}
    union all
    select county, item, {", ".join("0" for _ in MEASURES)}
    from unnest($1::text[]) as c (county) cross join unnest($2::text[]) as i (item)
        left join noted_totals as noted using (county, item)
    where ({", ".join("0" for _ in MEASURES)}) is distinct from {_row("noted")}
        and not exists (select from totals as t where (t.county, t.item) = (c.county, i.item))
),
noted as (
    insert into noted_totals as n (county, item, {_MEASURE_COLUMNS})
    select county, item, {_MEASURE_COLUMNS} from moved order by county, item
    on conflict (county, item) do update set {", ".join(f"{m} = excluded.{m}" for m in MEASURES)}
)
insert into told_totals as told (county, item, measure, total, version, changed_at)
select county, item, measure, each.total, $3::bigint, $4::timestamptz
from moved cross join lateral (values {", ".join(f"('{m}', {m})" for m in MEASURES)}) as each (measure, total)
where each.total is distinct from (
    -- A look at its key for each: few have moved, of many.
    select total from told_totals as t where (t.county, t.item, t.measure) = (moved.county, moved.item, each.measure)
)
order by county, item, measure
on conflict (county, item, measure) do update set
    total = excluded.total, version = greatest(told.version + 1, excluded.version), changed_at = excluded.changed_at
returning county, item, measure, total, version, changed_at
"""


async def note_changes(db: Connection, counties: Sequence[str], items: Sequence[str], at: datetime) -> list[Total]:
    """Gives each counter whose total is another than the one last noted a new version; returns these.

    Every counter of ``counties`` × ``items`` is there, zeros included. When this returns, what was noted survives a crash of the
    database, and so do the counters that it was read from: nothing is told that might be taken back.
    """
    async with db.transaction():
        await db.execute("set local synchronous_commit = on")
        return [_total(row) for row in await db.fetch(_NOTE, counties, items, _milliseconds(at), at)]


async def look_at_all(db: Connection) -> None:
    """Has the next :func:`note_changes` compare every counter with what was told, whatever was noted since."""
    await db.execute("delete from noted_totals")


async def unpublished(db: Connection, most: int) -> list[Total]:
    """Counters whose version is above their published version, the oldest first."""
    rows = await db.fetch(
        "select county, item, measure, total, version, changed_at from told_totals where version > published_version"
        " order by version, county, item, measure limit $1",
        most,
    )
    return [_total(row) for row in rows]


def _total(row: Mapping[str, Any]) -> Total:
    counter = Counter(row["county"], row["item"], row["measure"])
    return Total(counter, int(row["total"]), int(row["version"]), row["changed_at"])


async def waiting(db: Connection) -> tuple[int, datetime | None]:
    """How many counters are to be told, and since when the first of them is."""
    row = await db.fetchrow(
        "select count(*) as number, min(changed_at) as since from told_totals where version > published_version"
    )
    assert row is not None, "an aggregate has a row"
    return int(row["number"]), row["since"]


async def mark_published(db: Connection, totals: Collection[Total]) -> None:
    """Notes which version of each counter stands on the topic."""
    await db.execute(
        """
        update told_totals as told set published_version = sent.version
        from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as sent (county, item, measure, version)
        where (told.county, told.item, told.measure) = (sent.county, sent.item, sent.measure)
            and told.published_version < sent.version
        """,
        *_columns([total.counter for total in totals]),
        [total.version for total in totals],
    )


async def published(db: Connection) -> dict[Counter, tuple[int, int]]:
    """Total and version of each counter that, as far as is known here, stands on the topic as it is noted."""
    rows = await db.fetch("select county, item, measure, total, version from told_totals where version <= published_version")
    return {Counter(r["county"], r["item"], r["measure"]): (int(r["total"]), int(r["version"])) for r in rows}


async def tell_again(db: Connection, above: Mapping[Counter, int], at: datetime) -> None:
    """Gives each of these counters a version greater than the one given, and than its own, and has it told."""
    async with db.transaction():
        await db.execute("set local synchronous_commit = on")
        await db.execute(
            """
            update told_totals as told set published_version = 0, version = greatest(told.version + 1, given.above + 1, $5::bigint)
            from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as given (county, item, measure, above)
            where (told.county, told.item, told.measure) = (given.county, given.item, given.measure)
            """,
            *_columns(list(above)),
            list(above.values()),
            _milliseconds(at),
        )


def _columns(counters: Sequence[Counter]) -> tuple[list[str], list[str], list[str]]:
    return [c.county for c in counters], [c.item for c in counters], [c.measure for c in counters]


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
