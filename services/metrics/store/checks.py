"""The last check of the counters against the cases, for those who would not wait for another."""

from datetime import datetime
from typing import NamedTuple

from shared.postgres import Connection


class Check(NamedTuple):
    """When a check ended, how many cases it looked at, and how many counters differed."""

    checked_at: datetime
    checked: int
    differing: int


async def keep(db: Connection, checked: int, differing: int) -> None:
    """Keeps what a check has just found, in place of the one before."""
    await db.execute(
        """
        insert into checks (checked_at, checked, differing) values (now(), $1, $2)
        on conflict (one) do update
        set checked_at = excluded.checked_at, checked = excluded.checked, differing = excluded.differing
        """,
        checked, differing,
    )  # fmt: skip


async def last(db: Connection) -> Check | None:
    """The last check; ``None`` where none has been made of these tables."""
    row = await db.fetchrow("select checked_at, checked, differing from checks")
    return None if row is None else Check(*row)


async def bytes_to_read(db: Connection) -> int:
    """How many bytes a check must read: some 700 a case."""
    return int(await db.fetchval("select pg_relation_size('cases')"))
