"""How fresh each source is: noted with each batch, so that nobody need read the cases for it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from shared.postgres import Connection

_NOTE: Final = """
insert into heard as h (source_id, partition, latest_at, heard_at)
select source_id, $1, latest_at, now() from unnest($2::smallint[], $3::bigint[]) as t (source_id, latest_at)
on conflict (source_id, partition) do update
set latest_at = greatest(h.latest_at, excluded.latest_at), heard_at = excluded.heard_at
"""


class Heard(NamedTuple):
    """A source, the latest moment (microseconds since the epoch) at which it recorded anything, and when it was last heard."""

    source: str
    latest_at: int
    heard_at: datetime


async def note(db: Connection, partition: int, latest: Mapping[int, int]) -> None:
    """Notes what a batch of a partition brought: by source id, the latest moment recorded. In the batch's transaction."""
    await db.execute(_NOTE, partition, list(latest), list(latest.values()))


async def sources(db: Connection) -> list[Heard]:
    """Every source that was ever heard, by name."""
    rows = await db.fetch(
        """
        select s.source, max(h.latest_at) as latest_at, max(h.heard_at) as heard_at
        from heard as h join sources as s on s.id = h.source_id group by s.source order by s.source
        """
    )
    return [Heard(*row) for row in rows]
