"""The cases as they stand, for asking what events would change."""

from collections.abc import Collection

from services.metrics.domain.cases import CaseState, load_events
from shared.postgres import Connection


async def states(db: Connection, source: str, case_nos: Collection[str]) -> dict[str, CaseState]:
    """The states of those of a source's cases that are known, by number."""
    rows = await db.fetch(
        """
        select c.case_no, c.data_version, c.events from cases as c join sources as s on s.id = c.source_id
        where s.source = $1 and c.case_no = any($2::text[])
        """,
        source, list(case_nos),
    )  # fmt: skip
    return {row["case_no"]: CaseState(row["data_version"], load_events(row["events"])) for row in rows}
