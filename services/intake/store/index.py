"""The index of the log: where each event stands, and up to when that is known."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from shared.postgres import Connection

# In key order: two transactions that meet the same event in two partitions wait for each other, and never in a circle.
_ADD: Final = """
insert into events (event, partition, log_offset, stored_at)
select event, $1, log_offset, to_timestamp(at / 1000.0)
from unnest(string_to_array($2, ',')::uuid[], $3::bigint[], $4::bigint[]) as r (event, log_offset, at)
order by event
on conflict (event) do nothing
"""


class Indexed(NamedTuple):
    """A record of ``case-events``: its event's key, its offset, and its time in the log in milliseconds since the epoch."""

    event: str
    offset: int
    at: int


class Place(NamedTuple):
    """Where an event stands on ``case-events``, and since when."""

    partition: int
    offset: int
    stored_at: datetime


async def add_events(db: Connection, partition: int, records: Sequence[Indexed]) -> None:
    """Indexes records of one partition; an event that is known keeps its first place."""
    if records:
        events, offsets, times = zip(*records, strict=True)
        await db.execute(_ADD, partition, ",".join(events), offsets, times)


async def place_of(db: Connection, event: str) -> Place | None:
    """Where the event of this key stands, if it is known."""
    row = await db.fetchrow("select partition, log_offset, stored_at from events where event = $1", event)
    return None if row is None else Place(*row)


async def indexed_to(db: Connection) -> datetime | None:
    """Up to when the index is whole; ``None`` before it ever was."""
    found: datetime | None = await db.fetchval("select up_to from indexed")
    return found


async def note_indexed(db: Connection, up_to: datetime) -> None:
    """Notes that all that was stored before ``up_to`` is indexed. It never goes back."""
    await db.execute(
        "insert into indexed (up_to) values ($1)"
        " on conflict (only_row) do update set up_to = excluded.up_to where indexed.up_to < excluded.up_to",
        up_to,
    )


async def positions(db: Connection) -> dict[tuple[str, int], int]:
    """How far each partition is indexed, by topic and partition."""
    rows = await db.fetch("select topic, partition, next_offset from offsets")
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def answers(db: Connection) -> None:
    """Returns when the database answers and the migrations have run."""
    await db.fetchval("select event from parked limit 1")
