"""Snapshots of what other services follow: the newest of each subject."""

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from shared.events.progress import Snapshot
from shared.postgres import Connection


async def keep_newest(db: Connection, newest: Mapping[tuple[str, str], Snapshot]) -> None:
    """Keeps the newest snapshot of each (kind, subject); an older version than the one that stands changes nothing."""
    rows = [newest[key] for key in sorted(newest)]
    await db.execute(
        """
        insert into snapshots (kind, subject, version, deleted, state)
        select * from unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[], $5::jsonb[])
        on conflict (kind, subject) do update
        set version = excluded.version, deleted = excluded.deleted, state = excluded.state
        where excluded.version > snapshots.version
        """,
        [row.kind for row in rows],
        [row.subject for row in rows],
        [row.version for row in rows],
        [row.deleted for row in rows],
        [orjson.dumps(row.state).decode() for row in rows],
    )


async def states(db: Connection, kind: str) -> list[dict[str, Any]]:
    """The states of all live snapshots of ``kind``, by subject."""
    rows = await db.fetch("select state from snapshots where kind = $1 and not deleted order by subject", kind)
    return [orjson.loads(row["state"]) for row in rows]


async def of_months(db: Connection, kind: str, first: str | None, last: str) -> list[dict[str, Any]]:
    """The states of live snapshots of ``kind`` whose ``month`` (``yyyy-mm``) is from ``first`` (``None``: any) to ``last``."""
    rows = await db.fetch(
        """
        select state from snapshots
        where kind = $1 and not deleted and state ->> 'month' <= $3 collate "C"
            and ($2::text is null or state ->> 'month' >= $2 collate "C")
        order by subject
        """,
        kind, first, last,
    )  # fmt: skip
    return [orjson.loads(row["state"]) for row in rows]


async def of_subjects(db: Connection, kind: str, subjects: Collection[str]) -> dict[str, dict[str, Any]]:
    """The states of those live snapshots of ``kind``, by subject."""
    rows = await db.fetch(
        "select subject, state from snapshots where kind = $1 and not deleted and subject = any($2::text[])", kind, list(subjects)
    )
    return {row["subject"]: orjson.loads(row["state"]) for row in rows}
