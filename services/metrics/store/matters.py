"""Matters that are followed up (table ``matters``): kept beside their snapshots, counted and listed as of a day."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, Literal, NamedTuple

import orjson

from services.metrics.domain.matters import Matter, Span
from shared.events.progress import Snapshot
from shared.postgres import Connection

State = Literal["opened", "connected", "cancelled", "in_progress", "due_soon", "overdue"]
"""Those that a figure counts; ``connected`` is done, ``cancelled`` dropped."""

_DONE: Final = "done_on <= $1"
_DROPPED: Final = "dropped_on <= $1 and (done_on is null or done_on > $1)"
_OPEN: Final = "(done_on is null or done_on > $1) and (dropped_on is null or dropped_on > $1)"
_WHICH: Final[Mapping[State, str]] = {
    "opened": "true",
    "connected": _DONE,
    "cancelled": _DROPPED,
    "in_progress": _OPEN,
    "due_soon": "due_soon @> $1::date",
    "overdue": "overdue @> $1::date",
}
_SINCE: Final[Mapping[State, str]] = {
    "opened": "opened_on",
    "connected": "done_on",
    "cancelled": "dropped_on",
    "in_progress": "opened_on",
    "due_soon": "(select lower(span) from unnest(due_soon) as span where span @> $1::date)",
    "overdue": "(select lower(span) from unnest(overdue) as span where span @> $1::date)",
}


async def keep(db: Connection, matters: Mapping[tuple[str, str], tuple[int, Matter]], rules: int) -> None:
    """Keeps what counts of each (kind, subject) with the version of its snapshot, in place of an older one.

    A row of the same version is replaced too: it may be of other rules.
    """
    keys = sorted(matters)
    rows = [matters[key] for key in keys]
    await db.execute(
        """
        insert into matters (kind, subject, version, rules, county, service, party, opened_on, done_on, dropped_on, last_on,
            working_days, overdue, due_soon, moved_on)
        select kind, subject, version, $14, county, service, party, opened_on, done_on, dropped_on, last_on, working_days,
            overdue::datemultirange, due_soon::datemultirange, moved_on::date[]
        from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::date[], $8::date[], $9::date[],
            $10::int[], $11::text[], $12::text[], $13::text[], $15::date[])
            as n (kind, subject, version, county, service, party, opened_on, done_on, dropped_on, working_days, overdue, due_soon,
                moved_on, last_on)
        on conflict (kind, subject) do update
        set version = excluded.version, rules = excluded.rules, county = excluded.county, service = excluded.service,
            party = excluded.party, opened_on = excluded.opened_on, done_on = excluded.done_on, dropped_on = excluded.dropped_on,
            last_on = excluded.last_on, working_days = excluded.working_days, overdue = excluded.overdue,
            due_soon = excluded.due_soon, moved_on = excluded.moved_on
        where excluded.version >= matters.version
        """,
        [kind for kind, _ in keys],
        [subject for _, subject in keys],
        [version for version, _ in rows],
        [matter.county for _, matter in rows],
        [matter.service for _, matter in rows],
        [matter.party for _, matter in rows],
        [matter.opened_on for _, matter in rows],
        [matter.done_on for _, matter in rows],
        [matter.dropped_on for _, matter in rows],
        [matter.working_days for _, matter in rows],
        [_multirange(matter.overdue) for _, matter in rows],
        [_multirange(matter.due_soon) for _, matter in rows],
        ["{" + ",".join(map(str, matter.moved_on)) + "}" if matter.moved_on else None for _, matter in rows],
        rules,
        [matter.moved_on[-1] if matter.moved_on else None for _, matter in rows],
    )


def _multirange(spans: Sequence[Span]) -> str | None:
    return "{" + ",".join(f"[{begin},{end or ''})" for begin, end in spans) + "}" if spans else None


class Checked(NamedTuple):
    """The last subject that was looked at (``None``: there are no more), and those whose matter has to be derived anew."""

    last: str | None
    outdated: list[str]


async def check(db: Connection, kind: str, rules: int, after: str, most: int) -> Checked:
    """Looks at the next snapshots of ``kind`` behind ``after``: whether the matter is of the same version and of these rules."""
    # Each is one probe by key, whatever the planner knows of the tables' sizes.
    rows = await db.fetch(
        """
        select s.subject, (
            select m.version = s.version and m.rules = $2 from matters as m where m.kind = s.kind and m.subject = s.subject
        ) as stands
        from (select kind, subject, version from snapshots where kind = $1 and subject > $3 order by subject limit $4) as s
        order by s.subject
        """,
        kind, rules, after, most,
    )  # fmt: skip
    return Checked(rows[-1]["subject"] if rows else None, [row["subject"] for row in rows if not row["stands"]])


async def locked(db: Connection, kind: str, subjects: Sequence[str]) -> list[Snapshot]:
    """Those snapshots as they stand until the transaction ends: no newer one comes between."""
    rows = await db.fetch(
        """
        select kind, subject, version, deleted, state from snapshots
        where kind = $1 and subject = any($2::text[]) order by subject for update
        """,
        kind, list(subjects),
    )  # fmt: skip
    return [Snapshot.model_construct(**{**dict(row), "state": orjson.loads(row["state"])}) for row in rows]


async def tally(db: Connection, kind: str, *, as_of: date, county: str | None, service: str | None) -> list[dict[str, Any]]:
    """How many are opened, done, dropped, due soon and overdue at the end of ``as_of``, by county, service and the working
    days of those that are done."""
    async with db.transaction():
        # Else a million rows are sorted on disk, for the planner expects more groups than there are: three times as long.
        await db.execute("set local work_mem = '32MB'")
        rows = await db.fetch(
            f"""
            select county, service, case when {_DONE} then working_days end as working_days, count(*) as opened,
                count(*) filter (where {_DONE}) as connected, count(*) filter (where {_DROPPED}) as cancelled,
                count(*) filter (where {_OPEN}) as in_progress,
                count(*) filter (where due_soon @> $1::date) as due_soon, count(*) filter (where overdue @> $1::date) as overdue
            from matters
            where kind = $2 and opened_on <= $1 and ($3::text is null or county = $3) and ($4::text is null or service = $4)
            group by 1, 2, 3
            """,
            as_of, kind, county, service,
        )  # fmt: skip
    return [dict(row) for row in rows]


_LISTED: Final = """
    kind = $2 and opened_on <= $1 and ($3::text is null or county = $3) and ($4::text is null or service = $4)
    and ($5::text is null or party = $5) and ($6::boolean is null or (county is not null and service is not null) = $6)
"""


async def listed(
    db: Connection,
    kind: str,
    state: State,
    *,
    as_of: date,
    county: str | None = None,
    service: str | None = None,
    party: str | None = None,
    placed: bool | None = None,
    after: tuple[date, str] | None,
    most: int,
) -> list[dict[str, Any]]:
    """Those that a figure counts, with their snapshots' states, oldest first: from the day on which they came to be so.

    ``placed``: only those of which events have named county and service, or only the others; all where it is ``None``.
    """
    since = _SINCE[state]
    rows = await db.fetch(
        f"""
        select m.subject, m.since, m.opened_on, m.done_on, m.dropped_on, m.working_days, s.state
        from (
            select subject, opened_on, done_on, dropped_on, working_days, {since} as since from matters
            where {_LISTED} and {_WHICH[state]} and ($7::date is null or ({since}, subject) > ($7, $8))
            order by since, subject limit $9
        ) as m join snapshots as s on s.kind = $2 and s.subject = m.subject
        order by m.since, m.subject
        """,
        as_of, kind, county, service, party, placed, *(after or (None, None)), most,
    )  # fmt: skip
    return [{**dict(row), "state": orjson.loads(row["state"])} for row in rows]


async def count(
    db: Connection,
    kind: str,
    state: State,
    *,
    as_of: date,
    county: str | None = None,
    service: str | None = None,
    party: str | None = None,
    placed: bool | None = None,
) -> int:
    """How many :func:`listed` lists in all."""
    found = await db.fetchval(
        f"select count(*) from matters where {_LISTED} and {_WHICH[state]}", as_of, kind, county, service, party, placed
    )
    return int(found)


async def last_moved(
    db: Connection, kind: str, places: Sequence[tuple[str, str, str]], as_of: date
) -> dict[tuple[str, str, str], date]:
    """The last day up to ``as_of`` on which something happened, for each (county, service, party) where anything did."""
    rows = await db.fetch(
        """
        select p.county, p.service, p.party, greatest(
            (
                select max(m.last_on) from matters as m
                where m.kind = $1 and m.county = p.county and m.service = p.service and m.party = p.party and m.last_on <= $2
            ),
            -- What went on afterwards has its earlier days aside.
            (
                select max(moved.day) from matters as m, unnest(m.moved_on) as moved (day)
                where m.kind = $1 and m.county = p.county and m.service = p.service and m.party = p.party
                    and m.last_on > $2 and m.moved_on[1] <= $2 and moved.day <= $2
            )
        ) as day
        from unnest($3::text[], $4::text[], $5::text[]) as p (county, service, party)
        """,
        kind, as_of, [p[0] for p in places], [p[1] for p in places], [p[2] for p in places],
    )  # fmt: skip
    return {(row["county"], row["service"], row["party"]): row["day"] for row in rows if row["day"] is not None}
