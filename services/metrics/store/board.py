"""What the page alone asks of the cases."""

from typing import NamedTuple

from services.metrics.domain.cases import CaseState, load_events
from shared.postgres import Connection


class Recorded(NamedTuple):
    """A case with its state."""

    source: str
    case_no: str
    state: CaseState


async def size(db: Connection) -> int:
    """How many bytes the cases take; some 700 a case."""
    return int(await db.fetchval("select pg_relation_size('cases')"))


async def recorded_since(db: Connection, since: int, most: int) -> list[Recorded]:
    """Up to ``most`` cases with an event recorded at ``since`` (microseconds since the epoch) or later, the latest first.

    Reads every case: no index has the moment, for it would have to be written anew with every event.
    """
    rows = await db.fetch(
        """
        select s.source, c.case_no, c.data_version, c.events from cases as c join sources as s on s.id = c.source_id
        where c.latest_at >= $1 order by c.latest_at desc, c.case_no limit $2
        """,
        since, most,
    )  # fmt: skip
    return [Recorded(r["source"], r["case_no"], CaseState(r["data_version"], load_events(r["events"]))) for r in rows]


async def sources(db: Connection) -> list[tuple[str, int, int]]:
    """Each source with the number of its cases and the latest moment at which it recorded anything. Reads every case."""
    rows = await db.fetch(
        """
        select s.source, count(*) as cases, max(c.latest_at) as latest from cases as c join sources as s on s.id = c.source_id
        group by s.source order by s.source
        """
    )
    return [(row["source"], row["cases"], row["latest"]) for row in rows]
