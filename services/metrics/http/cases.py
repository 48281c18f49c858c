"""Explaining the figures: the cases behind a number, one case in full, and cases that wait for county or item (CONTRACT §4)."""

from typing import Any

from fastapi import APIRouter, Depends

from services.metrics.handlers import explain
from services.metrics.http import paging
from services.metrics.http.access import (
    PROBLEMS,
    Asking,
    AsOf,
    CountyCode,
    Db,
    ItemCode,
    Since,
    Today,
    check_range,
    known_item,
    own_county,
    reader,
)
from services.metrics.http.figures import Measure
from services.metrics.http.paging import After, Limit
from services.metrics.store.explain import Place
from shared.problems import ProblemError, described

router = APIRouter(prefix="/v1", dependencies=[Depends(reader)], responses=PROBLEMS, tags=["explaining"])


@router.get("/cases")
async def cases(
    db: Db,
    asker: Asking,
    today: Today,
    item: ItemCode = None,
    county: CountyCode = None,
    measure: Measure = "handled",
    as_of: AsOf = None,
    since: Since = None,
    after: After = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """The cases behind a number of `/v1/counts`, newest first: by the measure's business day, then by case number.

    `next` is given as `after` for the next page, and null on the last one. The first page has `count`, the number itself.
    Give every page the same parameters, `as_of` too.
    """
    until = as_of or today
    check_range(since, until)
    code = known_item(item).code if item else None
    county = own_county(asker, county)
    rows, place, count = await explain.cases(
        db, item=code, county=county, measure=measure, since=since, as_of=until, after=_place(after), limit=limit
    )
    return {
        "item": code, "county": county, "measure": measure, "from": since, "as_of": until,
        **({} if count is None else {"count": count}),
        "rows": rows, "next": None if place is None else paging.cursor([place.day.isoformat(), place.case_no, place.source]),
    }  # fmt: skip


# A source may hold slashes, a case number none.
@router.get("/cases/{source:path}/{case_no}", responses=described({404: "No event of such a case has been counted."}))
async def case(db: Db, asker: Asking, source: str, case_no: str) -> dict[str, Any]:
    """One case: what it counts for, and each register with its value and the event that set it."""
    # Neither is ever stored with a NUL, and the database would refuse to look for one.
    found = None if "\0" in source + case_no else await explain.case(db, source, case_no)
    # One of another county is answered as one that there is not.
    if found is None or asker.own not in (None, found["county"]):
        raise ProblemError(
            404, "unknown-case", "no event of such a case has been counted: see whether its source and number are right"
        )
    return found


@router.get("/unplaced")
async def unplaced(db: Db, after: After = None, limit: Limit = 100) -> dict[str, Any]:
    """Cases that no figure counts, as no event has named their county or item; `missing` says which. `count` is of them all."""
    key = paging.read(after, 2)
    rows, next_key, count = await explain.unplaced(db, after=None if key is None else (key[0], key[1]), limit=limit)
    return {"count": count, "rows": rows, "next": None if next_key is None else paging.cursor(next_key)}


def _place(after: str | None) -> Place | None:
    parts = paging.read_dated(after, 3)
    return None if parts is None else Place(parts[0], *parts[1])
