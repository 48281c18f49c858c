"""Explaining: the cases behind a number, one case with all that made it, and the cases that no figure counts yet."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from services.metrics.domain.explain import describe, instant, missing
from services.metrics.store import counters
from services.metrics.store import explain as store
from services.metrics.store.explain import Place
from shared import counties, items
from shared.clock import rfc3339
from shared.postgres import Connection


async def cases(
    db: Connection,
    *,
    item: str | None,
    county: str | None,
    measure: str,
    since: date | None,
    as_of: date,
    after: Place | None,
    limit: int,
) -> tuple[list[dict[str, Any]], Place | None, int | None]:
    """A page of the cases behind a number of ``/v1/counts``, where the next page begins, and on the first page the number."""
    async with db.transaction(isolation="repeatable_read", readonly=True):
        rows = await store.behind(
            db,
            items=[item] if item else list(items.BY_CODE),
            counties=[county] if county else list(counties.BY_CODE),
            measure=measure, since=since, as_of=as_of, after=after, most=limit + 1,
        )  # fmt: skip
        count = None
        if after is None:
            sums = await counters.sums(db, group="item", item=item, since=since, as_of=as_of, county=county)
            count = sum(row[measure] for row in sums)
    more = len(rows) > limit
    page = rows[:limit]
    last = page[-1] if more else None
    return page, None if last is None else Place(last["day"], last["case_no"], last["source"]), count


async def case(db: Connection, source: str, case_no: str) -> dict[str, Any] | None:
    """The answer of ``/v1/cases/{source}/{case_no}``; ``None`` when the case is unknown."""
    state = await store.case(db, source, case_no)
    return None if state is None else {"source": source, "case_no": case_no, **describe(state)}


async def unplaced(
    db: Connection, *, after: tuple[str, str] | None, limit: int
) -> tuple[list[dict[str, Any]], tuple[str, str] | None, int]:
    """A page of the cases without county or item, where the next page begins, and how many there are in all."""
    async with db.transaction(isolation="repeatable_read", readonly=True):
        rows = await store.unplaced(db, after=after, most=limit + 1)
        count = await store.count_unplaced(db)
    more = len(rows) > limit
    page = [_waiting(row) for row in rows[:limit]]
    return page, _key(page) if more else None, count


def _waiting(row: dict[str, Any]) -> dict[str, Any]:
    latest_at = rfc3339(instant(row.pop("latest_at")))
    return {**row, "missing": missing(row["county"], row["item"]), "latest_recorded_at": latest_at}


def _key(page: Sequence[dict[str, Any]]) -> tuple[str, str]:
    return page[-1]["source"], page[-1]["case_no"]
