"""The schemas of a rebuild: the fresh one beside the live one, and the swap. All of it as the database's owner."""

import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from services.metrics.domain.cases import MEASURES
from shared.postgres import Connection, make_schema

LIVE: Final = "metrics"
FRESH: Final = "metrics_rebuild"
BEFORE: Final = "metrics_before"
ROLE: Final = "metrics"

FROM_LOG: Final = frozenset(
    {
        "migrations",
        "sources",
        "offsets",
        "cases",
        "counters",
        "counters_by_month",
        "counter_deltas",
        "totals",
        "snapshots",
        "matters",
        "heard",
        "checks",
    }
)
"""Tables whose content comes from the log (and ``migrations``, which comes with them; and ``checks``, for none has been made of
the fresh tables): a rebuild makes them anew."""

KEPT: Final = frozenset({"notices", "audit", "spent", "told_totals", "noted_totals", "moves", "journal"})
"""Tables whose content is nowhere else: a rebuild carries them over as they stand."""

WRITERS_SECONDS: Final = 5.0
"""How long the swap waits for transactions of the workers that are under way."""
OTHERS_SECONDS: Final = 0.2
"""How long it waits for anybody else. Below PostgreSQL's deadlock_timeout (1 s), so that whoever loses, it is not a reader."""
CLEAR_SECONDS: Final = 600.0


class Busy(Exception):
    """Somebody holds what is needed now; a later attempt may find it free."""


class Position(NamedTuple):
    """How far a partition is counted, and of which topic (``None``: not known)."""

    next_offset: int
    topic_id: UUID | None


async def begins_alone(db: Connection) -> bool:
    """Takes the session's lock that lets one rebuild run at a time; ``False`` when another has it."""
    return bool(await db.fetchval("select pg_try_advisory_lock(hashtext('metrics.rebuild'))"))


async def unclassified(db: Connection) -> list[str]:
    """Live tables of which this module does not say whether they come from the log."""
    return sorted(await _tables(db, LIVE) - FROM_LOG - KEPT)


async def _tables(db: Connection, schema: str) -> set[str]:
    return {row["tablename"] for row in await db.fetch("select tablename from pg_tables where schemaname = $1", schema)}


async def make_fresh(db: Connection) -> None:
    """An empty schema for the rebuild, in place of one that an earlier attempt left."""
    await drop_fresh(db)
    await make_schema(db, FRESH, ROLE)


async def migrated_alike(db: Connection) -> bool:
    """Whether the live tables have had the very migrations that the fresh ones had."""
    had = "select array_agg((name, body) order by name) from {}.migrations"
    return bool(await db.fetchval(f"select ({had.format(LIVE)}) = ({had.format(FRESH)})"))


async def drop_fresh(db: Connection) -> None:
    """Drops the rebuild's schema, where it stands."""
    await db.execute(f"drop schema if exists {FRESH} cascade", timeout=CLEAR_SECONDS)


async def analyse(db: Connection) -> None:
    """Gives the planner its figures of the fresh tables, so that the first readers after the swap are served well."""
    tables = sorted(await _tables(db, FRESH))
    await db.execute(f"analyze {', '.join(f'{FRESH}.{table}' for table in tables)}", timeout=CLEAR_SECONDS)


async def positions(db: Connection) -> dict[tuple[str, int], Position]:
    """How far the live tables are counted, by topic and partition."""
    rows = await db.fetch(f"select topic, partition, next_offset, topic_id from {LIVE}.offsets")
    return {(row["topic"], row["partition"]): Position(row["next_offset"], row["topic_id"]) for row in rows}


@contextlib.asynccontextmanager
async def fenced(db: Connection) -> AsyncIterator[None]:
    """A transaction in which no worker counts: each waits at its offset's row, and goes on when this ends.

    Raises:
        Busy: a lock was not free in time; nothing was changed.
    """
    try:
        async with db.transaction():
            await db.execute(f"set local lock_timeout = {int(WRITERS_SECONDS * 1000)}")
            # No folding or correction may be under way either: a trigger of theirs finds its second table by the schema's name.
            await db.execute("select pg_advisory_xact_lock(hashtext('metrics.fold_deltas'))")
            await db.execute(f"lock table {LIVE}.offsets in exclusive mode")
            await db.execute(f"set local lock_timeout = {int(OTHERS_SECONDS * 1000)}")
            yield
    except asyncpg.LockNotAvailableError as error:
        raise Busy(str(error)) from error


async def swap(db: Connection, kept: Collection[str] = KEPT) -> None:
    """The fresh schema becomes the live one; the live one stays aside as ``metrics_before``. Inside :func:`fenced`.

    Names alone change: no reader waits. A statement under way ends on the tables that it began with; the next one, prepared
    or not, finds the new ones. Grants and default privileges go with their schema.

    Raises:
        Busy: the live schema is being migrated, or has been since :func:`migrated_alike` was asked.
    """
    if not await db.fetchval("select pg_try_advisory_xact_lock(hashtext($1))", f"migrate {LIVE}"):
        raise Busy("the live tables are being migrated")
    if not await migrated_alike(db):
        raise Busy("the live tables have been migrated meanwhile")
    await db.execute(f"drop schema if exists {BEFORE} cascade", timeout=CLEAR_SECONDS)
    await db.execute(f"alter schema {LIVE} rename to {BEFORE}")
    await db.execute(f"alter schema {FRESH} rename to {LIVE}")
    for table in sorted(kept):
        await db.execute(f"drop table if exists {LIVE}.{table}")
        await db.execute(f"alter table {BEFORE}.{table} set schema {LIVE}")
    # No row was written, so no trigger tells of it.
    await db.execute("select pg_notify('metrics_moved', '')")


_MOVED: Final = ", ".join(f"sum({m}) as {m}" for m in MEASURES)
_LESS: Final = ", ".join(f"-{m}" for m in MEASURES)
_COLUMNS: Final = ", ".join(MEASURES)
_UNFOLDED: Final = f"""
    select d.counted_on, d.why, m.* from {BEFORE}.counter_deltas as d,
        unnest(d.item, d.county, d.day, {", ".join(f"d.{m}" for m in MEASURES)}) as m (item, county, day, {_COLUMNS})
"""
_TELL: Final = f"""
    on conflict (counted_on, item, county, why) do update set {", ".join(f"{m} = kept.{m} + excluded.{m}" for m in MEASURES)}
"""

# What was counted and not folded yet was still to be told.
_TELL_UNFOLDED: Final = f"""
insert into {LIVE}.moves as kept (counted_on, item, county, why, {_COLUMNS})
select counted_on, item, county, why, {_MOVED} from ({_UNFOLDED}) as unfolded group by 1, 2, 3, 4 {_TELL}
"""
_TELL_DIFFERENCE: Final = f"""
insert into {LIVE}.moves as kept (counted_on, item, county, why, {_COLUMNS})
select (now() at time zone 'Asia/Shanghai')::date, item, county, 'recount', {_MOVED}
from (
    select item, county, {_COLUMNS} from {LIVE}.totals
    union all select item, county, {_LESS} from {BEFORE}.totals
    union all select item, county, {_LESS} from ({_UNFOLDED}) as unfolded
) as both_sides
group by item, county having {" or ".join(f"sum({m}) <> 0" for m in MEASURES)} {_TELL}
"""

# Each source was heard when it was, not when the rebuild read what it had said.
_HEARD_BEFORE: Final = f"""
update {LIVE}.heard as h set heard_at = before.heard_at
from {LIVE}.sources as s, (
    select source, max(heard_at) as heard_at from {BEFORE}.heard join {BEFORE}.sources on id = source_id group by source
) as before
where s.id = h.source_id and before.source = s.source
"""


async def tell_difference(db: Connection) -> None:
    """Tells, in the tables that are kept, by how much the swap moved the figures, as what a recount moved. Right after
    :func:`swap`, in its transaction."""
    for statement in (_TELL_UNFOLDED, _TELL_DIFFERENCE, _HEARD_BEFORE):
        await db.execute(statement, timeout=CLEAR_SECONDS)


async def drop_before(db: Connection) -> None:
    """Drops the tables that were swapped out.

    Raises:
        Busy: a statement still reads them.
    """
    try:
        async with db.transaction():
            await db.execute(f"set local lock_timeout = {int(OTHERS_SECONDS * 1000)}")
            await db.execute(f"drop schema if exists {BEFORE} cascade", timeout=CLEAR_SECONDS)
    except asyncpg.LockNotAvailableError as error:
        raise Busy(str(error)) from error
