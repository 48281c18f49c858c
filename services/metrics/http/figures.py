"""Figures: counts and ranking (CONTRACT §4)."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response

from services.metrics.domain import figures
from services.metrics.domain.cases import MEASURES
from services.metrics.domain.figures import Group, LowOp, Ranked
from services.metrics.handlers import figures as answers
from services.metrics.http.access import (
    PROBLEMS,
    Asking,
    AsOf,
    CountyCode,
    Granted,
    ItemCode,
    Since,
    Today,
    check_range,
    known_item,
    own_county,
    reader,
    standing,
    wrong,
)
from shared.postgres import Connection

Measure = Literal[
    "handled", "applied", "accepted", "completed", "completed_on_time", "not_accepted", "returned", "withdrawn", "online"
]
assert Measure.__args__ == MEASURES  # type: ignore[attr-defined]

RequiredItem = Annotated[str, Query(examples=["disabled-service"])]
Low = Annotated[int, Query(ge=0, le=1_000_000, description="What counts as low.")]

router = APIRouter(prefix="/v1", dependencies=[Depends(reader)], responses=PROBLEMS, tags=["figures"])


@router.get("/counts", response_class=JSONResponse)
async def counts(
    access: Granted,
    asker: Asking,
    today: Today,
    item: ItemCode = None,
    as_of: AsOf = None,
    since: Since = None,
    group_by: Group = "county",
    county: CountyCode = None,
) -> Response:
    """Every measure by county (every unit of the roster has a row), day, month or item. Without `item`: all items. With `county`:
    that county's alone, by day, month or item. A county's own token sees its row and the city's total; its own days with `county`.
    """
    until = as_of or today
    check_range(since, until)
    code = known_item(item).code if item else None
    if county is not None:
        own_county(asker, county)
        if group_by == "county":
            raise wrong("group_by", "with county: group by day, month or item")
    try:
        return await standing(
            access, asker, ("counts", code, since, until, group_by, county),
            lambda db: answers.counts(db, item=code, since=since, as_of=until, group_by=group_by, county=county),
        )  # fmt: skip
    except figures.TooManyDays as error:
        raise wrong("from", str(error)) from None


def _told(row: Ranked) -> dict[str, Any]:
    # By hand: the library's asdict copies each value deeply, which costs more than the question.
    return {
        "rank": row.rank, "county": row.county, "name": row.name, "pilot": row.pilot, "count": row.count, "share": row.share,
    }  # fmt: skip


@router.get("/ranking", response_class=JSONResponse)
async def ranking(
    access: Granted,
    asker: Asking,
    today: Today,
    item: RequiredItem,
    measure: Measure = "handled",
    as_of: AsOf = None,
    since: Since = None,
    top: Annotated[int | None, Query(ge=1, le=1000, description="Only ranks up to this; all without it.")] = None,
    low: Low = 10,
    low_op: LowOp = "lt",
) -> Response:
    """Units by one measure, with their share of the city, and the units that stand low or at zero."""
    until = as_of or today
    check_range(since, until)
    which = known_item(item)

    async def ask(db: Connection) -> dict[str, Any]:
        ranked = await answers.ranking(db, item=which, measure=measure, as_of=until, since=since, low=low, low_op=low_op)
        return {
            "item": item, "measure": measure, "from": since, "as_of": until, "total": ranked.total,
            "rows": [_told(row) for row in figures.top(ranked, top)], "low": ranked.low, "zero": ranked.zero,
        }  # fmt: skip

    return await standing(access, asker, ("ranking", item, measure, since, until, top, low, low_op), ask)
