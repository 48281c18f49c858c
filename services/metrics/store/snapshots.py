"""Snapshots of what other services follow: the newest of each subject."""

from collections.abc import Mapping
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
