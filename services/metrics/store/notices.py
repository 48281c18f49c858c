"""Frozen notices."""

from datetime import datetime
from typing import Any, NamedTuple

from shared.postgres import Connection


class Frozen(NamedTuple):
    """A frozen notice: its canonical JSON, the hash of that, when and by whom."""

    month: str
    item: str
    document: str
    sha256: str
    frozen_at: datetime
    frozen_by: str


async def live_tables(db: Connection) -> int:
    """Which tables are the live ones: another number after a rebuild has put fresh ones in their place."""
    return int(await db.fetchval("select to_regclass('counters')::oid::bigint"))


async def find(db: Connection, month: str, item: str) -> Frozen | None:
    """The frozen notice of the month and item, where there is one."""
    row = await db.fetchrow(
        "select month, item, document, sha256, frozen_at, frozen_by from notices where month = $1 and item = $2", month, item
    )
    return Frozen(*row) if row else None


async def listed(db: Connection) -> list[dict[str, Any]]:
    """Every frozen notice without its document, the newest month first."""
    rows = await db.fetch("select month, item, sha256, frozen_at, frozen_by from notices order by month desc, item")
    return [dict(row) for row in rows]


async def freeze(db: Connection, notice: Frozen) -> bool:
    """Keeps the notice; ``False`` when the month and item have one already, which stands."""
    kept = await db.fetchval(
        """
        insert into notices (month, item, document, sha256, frozen_at, frozen_by) values ($1, $2, $3, $4, $5, $6)
        on conflict (month, item) do nothing returning true
        """,
        *notice,
    )
    return bool(kept)
