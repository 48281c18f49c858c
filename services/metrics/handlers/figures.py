"""Figures: the answers of counts and ranking."""

from datetime import date
from typing import Any

from services.metrics.domain import figures
from services.metrics.domain.figures import Group, LowOp, Ranking
from services.metrics.store import counters
from shared.items import Item
from shared.postgres import Connection


async def counts(
    db: Connection, *, item: str | None, since: date | None, as_of: date, group_by: Group, county: str | None = None
) -> dict[str, Any]:
    """The answer of ``/v1/counts``; with ``county`` it says so, and counts that one alone."""
    sums = await counters.sums(db, group=group_by, item=item, since=since, as_of=as_of, county=county)
    rows = figures.rows_by(group_by, sums)
    of = {} if county is None else {"county": county}
    return {"item": item, **of, "from": since, "as_of": as_of, "rows": rows, "total": figures.total(rows)}


async def ranking(
    db: Connection, *, item: Item, measure: str, as_of: date, since: date | None = None, low: int, low_op: LowOp
) -> Ranking:
    """Units ranked by ``measure``."""
    sums = await counters.sums(db, group="county", item=item.code, since=since, as_of=as_of)
    return figures.rank({row["key"]: row[measure] for row in sums}, item.pilots, low=low, low_op=low_op)
