"""The subjects that the service tells of: the registry, presence, windows, installations, joint installations."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from services.utilities.domain.snapshots import Told
from shared.events.progress import Kind
from shared.postgres import Connection

TABLES: Final[dict[Kind, str]] = {
    "registry": "registry",
    "presence": "presence",
    "window": "windows",
    "installation": "installations",
    "joint": "joint",
}
"""The table of each kind's subjects."""

EVENTFUL: Final[tuple[Kind, ...]] = ("presence", "window", "installation")
"""The kinds whose rows hold winning events."""

LOCK: Final = "utilities publisher"
"""Names the advisory lock of the one process that publishes."""


class Stored(NamedTuple):
    """A subject as it was: its winning events as JSON (none for the registry), what is told of it, and its version."""

    events: str
    state: dict[str, Any]
    deleted: bool
    version: int


class Row(NamedTuple):
    """A subject as it is to be. ``events`` is JSON; ``timing`` is of installations (:mod:`services.utilities.store.due`)."""

    subject: str
    events: str
    state: dict[str, Any]
    deleted: bool
    version: int
    timing: str | None = None


async def answers(db: Connection) -> None:
    """Returns when the database answers and the migrations have run."""
    await db.fetchval("select 1 from offsets limit 1")


async def lock_subjects(db: Connection, kind: Kind, subjects: Collection[str]) -> dict[str, Stored]:
    """Those of ``subjects`` that are known, locked in key order until the transaction ends."""
    events = "events" if kind in EVENTFUL else "'[]'::jsonb"
    rows = await db.fetch(
        f"select subject, {events} as events, state, deleted, version from {TABLES[kind]}"
        " where subject = any($1::text[]) order by subject for update",
        list(subjects),
    )
    return {row["subject"]: Stored(row["events"], orjson.loads(row["state"]), row["deleted"], row["version"]) for row in rows}


async def put_subjects(db: Connection, kind: Kind, rows: Iterable[Row]) -> dict[str, int]:
    """Inserts or replaces ``rows``, in one statement; gives the ids of installations by subject, else nothing."""
    ordered = sorted(rows, key=lambda row: row.subject)
    if not ordered:
        return {}
    columns = ["subject", "state", "deleted", "version"]
    types = ["text", "jsonb", "boolean", "bigint"]
    values: list[list[Any]] = [
        [row.subject for row in ordered],
        [_json(row.state) for row in ordered],
        [row.deleted for row in ordered],
        [row.version for row in ordered],
    ]
    if kind in EVENTFUL:
        columns.append("events")
        types.append("jsonb")
        values.append([row.events for row in ordered])
    if kind == "installation":
        columns.append("timing")
        types.append("text")
        values.append([row.timing for row in ordered])
    unnested = ", ".join(f"${place}::{type_}[]" for place, type_ in enumerate(types, 1))
    replaced = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
    statement = (
        f"insert into {TABLES[kind]} ({', '.join(columns)}) select * from unnest({unnested})"
        f" on conflict (subject) do update set {replaced}"
    )
    if kind != "installation":
        await db.execute(statement, *values)
        return {}
    return {row["subject"]: row["id"] for row in await db.fetch(f"{statement} returning subject, id", *values)}


async def lock_registry(db: Connection) -> dict[str, Stored]:
    """The whole registry; nobody else may write it until the transaction ends."""
    await db.execute("lock table registry in share row exclusive mode")
    return await lock_subjects(db, "registry", [row["subject"] for row in await db.fetch("select subject from registry")])


async def pairs(db: Connection) -> list[tuple[str, str, str]]:
    """County, company and service of each pair of the registry that is or was."""
    rows = await db.fetch("select county, company, service from registry where not deleted")
    return [(row["county"], row["company"], row["service"]) for row in rows]


async def names_of(db: Connection) -> dict[str, str]:
    """What people call each company, by its id."""
    rows = await db.fetch("select distinct company, state ->> 'name' as name from registry where not deleted")
    return {row["company"]: row["name"] for row in rows}


async def unpublished(db: Connection, kind: Kind, limit: int) -> list[Told]:
    """Snapshots of rows whose version is above their published version, the oldest first."""
    rows = await db.fetch(
        f"select subject, version, deleted, state from {TABLES[kind]} where version > published_version order by version limit $1",
        limit,
    )
    return [Told(kind, row["subject"], row["version"], row["deleted"], row["state"]) for row in rows]


async def waiting(db: Connection) -> dict[Kind, int]:
    """How many snapshots of each kind are to be told."""
    return {
        kind: int(await db.fetchval(f"select count(*) from {table} where version > published_version"))
        for kind, table in TABLES.items()
    }


async def mark_published(db: Connection, kind: Kind, snapshots: Sequence[Told]) -> None:
    """Notes which version of each subject stands on the topic. Rows are locked in key order, as the merge locks them."""
    table = TABLES[kind]
    await db.execute(
        f"""
        with sent as materialized (
            select subject, sent.version
            from {table} join unnest($1::text[], $2::bigint[]) as sent (subject, version) using (subject)
            order by subject for update of {table}
        )
        update {table} set published_version = sent.version
        from sent where sent.subject = {table}.subject and {table}.published_version < sent.version
        """,
        [snapshot.subject for snapshot in snapshots],
        [snapshot.version for snapshot in snapshots],
    )


async def forget_published(db: Connection) -> int:
    """Makes every row unpublished, so that all are sent again; returns how many. Call in a transaction."""
    count = 0
    for table in TABLES.values():
        await db.execute(f"lock table {table} in share row exclusive mode")
        status = await db.execute(f"update {table} set published_version = 0")
        count += int(status.rpartition(" ")[2])
    return count


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
