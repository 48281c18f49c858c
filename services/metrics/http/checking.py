"""Checking the counters: consistency, the recount, and setting them right (CONTRACT §4)."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query

from services.metrics.handlers import checking
from services.metrics.http.access import (
    PROBLEMS,
    Asking,
    AsOf,
    CountyCode,
    Db,
    Granted,
    ItemCode,
    Since,
    Today,
    Writing,
    check_range,
    known_county,
    known_item,
    operator,
    reader,
)
from shared.bearer import OPERATOR, Who
from shared.problems import described

router = APIRouter(prefix="/v1", dependencies=[Depends(reader)], responses=PROBLEMS, tags=["operating"])


@router.get("/consistency")
async def consistency(db: Db, item: ItemCode = None, county: CountyCode = None) -> dict[str, Any]:
    """A recount of the cases against the counters; `drift` is empty, or something is wrong with us."""
    code = known_item(item).code if item else None
    return await checking.consistency(db, item=code, county=known_county(county))


@router.get("/recount")
async def recount(
    db: Db, today: Today, item: ItemCode = None, county: CountyCode = None, as_of: AsOf = None, since: Since = None
) -> dict[str, Any]:
    """As `/v1/counts` by county, but counted from the cases themselves, without any counter. It reads every case."""
    until = as_of or today
    check_range(since, until)
    code = known_item(item).code if item else None
    return await checking.recount(db, item=code, county=known_county(county), since=since, as_of=until)


FORBIDDEN = described({403: "The token is not the operator's."})
FromCases = Annotated[
    Literal["cases"], Query(alias="from", description="Anew from the log is a command: `python -m services.metrics.main rebuild`.")
]


@router.post("/rebuild", dependencies=[Depends(operator)], responses=FORBIDDEN)
async def rebuild(db: Writing, access: Granted, asker: Asking, who: Who, source: FromCases = "cases") -> dict[str, Any]:
    """Sets every counter to what the cases say. Counting and reading go on; `changed` lists the counters that were wrong."""
    return await checking.rebuild_from_cases(db, at=access.clock(), role=asker.scope, who=asker.name if who == OPERATOR else who)
