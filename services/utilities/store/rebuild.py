"""Wiping what is derived from the log, so that it is read again; and what is left when it was."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from uuid import UUID

from services.utilities.store.due import WHOLE_TABLE_SECONDS
from services.utilities.store.subjects import EVENTFUL, TABLES
from shared.postgres import Connection


class Position(NamedTuple):
    """How far a partition was taken, and of which topic."""

    next_offset: int
    topic_id: UUID | None


_WRITTEN: Final = ("offsets", *(TABLES[kind] for kind in EVENTFUL), "joint_cases")
"""In the order in which writers lock them: the offset comes first in every batch."""


async def positions(db: Connection) -> Mapping[tuple[str, int], Position]:
    """How far each partition was taken."""
    rows = await db.fetch("select topic, partition, next_offset, topic_id from offsets")
    return {(row["topic"], row["partition"]): Position(row["next_offset"], row["topic_id"]) for row in rows}


async def fence(db: Connection) -> None:
    """Waits for the writers' transactions, and lets none begin until this one ends."""
    for table in _WRITTEN:
        await db.execute(f"lock table {table} in share row exclusive mode", timeout=WHOLE_TABLE_SECONDS)


async def wipe(db: Connection) -> None:
    """Forgets every event and every position. What is told stands until it is told anew."""
    for kind in EVENTFUL:
        await db.execute(f"update {TABLES[kind]} set events = '[]' where events <> '[]'", timeout=WHOLE_TABLE_SECONDS)
    await db.execute("delete from joint_cases", timeout=WHOLE_TABLE_SECONDS)
    await db.execute("update offsets set next_offset = 0, topic_id = null")


async def delete_unmentioned(db: Connection, version: int) -> int:
    """Marks as deleted what the log does not mention; returns how many. ``version`` is by the clock."""
    count = 0
    await db.execute(
        "delete from due_dates where id in (select id from installations where events = '[]')", timeout=WHOLE_TABLE_SECONDS
    )
    for kind in EVENTFUL:
        timing = ", timing = null" if kind == "installation" else ""
        status = await db.execute(
            f"update {TABLES[kind]} set deleted = true, state = '{{}}', version = greatest(version + 1, $1){timing}"
            " where events = '[]' and not deleted",
            version,
            timeout=WHOLE_TABLE_SECONDS,
        )
        count += int(status.rpartition(" ")[2])
    await db.execute(
        """
        insert into joint_waiting (case_no) select case_no from joint_cases union select case_no from joint order by 1
        on conflict (case_no) do update set marked = joint_waiting.marked + 1
        """
    )
    return count
