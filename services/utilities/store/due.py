"""Due dates as derived: kept beside the installations, so that all of them can be replaced at once."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from services.utilities.domain.limits import DueStep, outlook
from services.utilities.domain.steps import Timing, iso
from shared.postgres import Connection

WHOLE_TABLE_SECONDS: Final = 3600.0
"""What goes through every installation may take longer than any other statement."""


class DueRow(NamedTuple):
    """A row of ``due_dates``."""

    id: int
    step: str | None
    due_on: date | None
    due_soon_from: date | None
    provisional: bool
    late_from: date | None
    late_until: date | None


def dump_timing(timing: Timing) -> str:
    """``[service, kind, [day of each step or null, …], [a pause's first day, the day after its last or null], …]``, days as
    ordinals."""
    return orjson.dumps([timing.service, timing.customer_kind, timing.days, *timing.pauses]).decode()


def due_row(number: int, steps: list[DueStep]) -> DueRow | None:
    """The row of installation ``number``; ``None`` where no limit runs and none was overrun."""
    due, late = outlook(steps)
    if due is None and late is None:
        return None
    late_from, late_until = (None, None) if late is None else map(_day, late)
    if due is None:
        return DueRow(number, None, None, None, False, late_from, late_until)
    return DueRow(number, due.step, _day(due.due_on), _day(due.due_soon_from), due.provisional, late_from, late_until)


@lru_cache(maxsize=1 << 16)
def _day(ordinal: int | None) -> date | None:
    return None if ordinal is None else date.fromordinal(ordinal)


async def put_due(db: Connection, steps: Mapping[int, list[DueStep]]) -> None:
    """Replaces the rows of the installations with these ids; they are locked by the caller."""
    rows = [row for number in sorted(steps) if (row := due_row(number, steps[number])) is not None]
    gone = sorted(steps.keys() - {row.id for row in rows})
    if gone:
        await db.execute("delete from due_dates where id = any($1::bigint[])", gone)
    if rows:
        await db.execute(
            """
            insert into due_dates (id, step, due_on, due_soon_from, provisional, late_from, late_until)
            select * from unnest($1::bigint[], $2::text[], $3::date[], $4::date[], $5::boolean[], $6::date[], $7::date[])
            on conflict (id) do update set step = excluded.step, due_on = excluded.due_on, due_soon_from = excluded.due_soon_from,
                provisional = excluded.provisional, late_from = excluded.late_from, late_until = excluded.late_until
            """,
            *(list(column) for column in zip(*rows, strict=True)),
        )


async def fence_installations(db: Connection) -> None:
    """Lets nobody write installations until the transaction ends; reading goes on."""
    await db.execute("lock table installations in share mode", timeout=WHOLE_TABLE_SECONDS)


async def replace_all(db: Connection, lines: AsyncIterator[bytes]) -> None:
    """Makes ``due_dates`` what ``lines`` say, in the text format of COPY (:func:`due_line`)."""
    await db.execute("delete from due_dates", timeout=WHOLE_TABLE_SECONDS)
    await db.copy_to_table("due_dates", source=lines, format="text", timeout=WHOLE_TABLE_SECONDS)


def due_line(number: int, steps: list[DueStep]) -> str | None:
    """The row of :func:`due_row` as a line of COPY's text format."""
    due, late = outlook(steps)
    if due is None and late is None:
        return None
    late_text = "\\N\t\\N" if late is None else f"{iso(late[0])}\t{iso(late[1])}"
    if due is None or due.due_on is None or due.due_soon_from is None:
        return f"{number}\t\\N\t\\N\t\\N\tf\t{late_text}\n"
    flag = "t" if due.provisional else "f"
    return f"{number}\t{due.step}\t{iso(due.due_on)}\t{iso(due.due_soon_from)}\t{flag}\t{late_text}\n"


async def timings(db: Connection, write: Any) -> None:
    """Hands ``write`` (async, of bytes) the timings of every installation that is not deleted, a line each, its id put first."""
    statement = "select '[' || id || ',' || substr(timing, 2) from installations where timing is not null"
    await db.copy_from_query(statement, output=write, format="text", timeout=WHOLE_TABLE_SECONDS)


def load_timings(lines: bytes) -> Iterator[tuple[int, Timing]]:
    """Whole lines of :func:`timings`, with ids; all at once, for a line costs more than what stands in it."""
    for number, service, kind, days, *pauses in orjson.loads(b"[" + lines.rstrip(b"\n").replace(b"\n", b",") + b"]"):
        yield number, Timing(service, kind, days, tuple(map(tuple, pauses)) if pauses else ())


class Overdue(NamedTuple):
    """An installation that is overdue on a day, as told."""

    subject: str
    state: dict[str, Any]


async def overdue(db: Connection, day: date, *, county: str | None = None, company: str | None = None) -> list[Overdue]:
    """The installations that are, were or will be overdue at the end of ``day``, by what is known now, by subject.

    A superset where an installation was late twice with a time between: ask its ``limits``.
    """
    rows = await db.fetch(
        """
        select i.subject, i.state
        from installations as i
        join (
            select id from due_dates where due_on < $1
            union
            select id from due_dates where late_until > $1 and late_from <= $1
        ) as late using (id)
        where ($2::text is null or i.county = $2) and ($3::text is null or i.company = $3)
        order by i.subject
        """,
        day, county, company,
    )  # fmt: skip
    return [Overdue(row["subject"], orjson.loads(row["state"])) for row in rows]


async def read_basis(db: Connection, name: str) -> str | None:
    """By what was derived, or how far; ``None`` where nothing is noted."""
    value: str | None = await db.fetchval("select value from basis where name = $1", name)
    return value


async def put_basis(db: Connection, name: str, value: str) -> None:
    """Notes it."""
    await db.execute(
        "insert into basis (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value", name, value
    )


async def drop_basis(db: Connection, names: Iterable[str]) -> None:
    """Forgets it."""
    await db.execute("delete from basis where name = any($1::text[])", list(names))


async def next_subjects(db: Connection, after: str, limit: int) -> list[str]:
    """The installations that follow ``after`` in key order, locked in that order until the transaction ends."""
    rows = await db.fetch("select subject from installations where subject > $1 order by subject limit $2 for update", after, limit)
    return [row["subject"] for row in rows]
