"""Explaining the figures: the cases behind a number, one case in full, and cases that wait for county or item (CONTRACT §4)."""

import base64
import binascii
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query

from services.metrics.handlers import explain
from services.metrics.http.access import (
    PROBLEMS,
    AsOf,
    CountyCode,
    Db,
    ItemCode,
    Since,
    Today,
    check_range,
    known_county,
    known_item,
    reader,
    wrong,
)
from services.metrics.http.figures import Measure
from services.metrics.store.explain import Place
from shared.problems import ProblemError, described

After = Annotated[str | None, Query(description="`next` of the page before; the first page without it.", max_length=2000)]
Limit = Annotated[int, Query(ge=1, le=1000, description="Rows a page.")]

router = APIRouter(prefix="/v1", dependencies=[Depends(reader)], responses=PROBLEMS, tags=["explaining"])


@router.get("/cases")
async def cases(
    db: Db,
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
    rows, place, count = await explain.cases(
        db, item=code, county=known_county(county), measure=measure, since=since, as_of=until, after=_place(after), limit=limit
    )
    return {
        "item": code, "county": county, "measure": measure, "from": since, "as_of": until,
        **({} if count is None else {"count": count}),
        "rows": rows, "next": None if place is None else _cursor([place.day.isoformat(), place.case_no, place.source]),
    }  # fmt: skip


# A source may hold slashes, a case number none.
@router.get("/cases/{source:path}/{case_no}", responses=described({404: "No event of such a case has been counted."}))
async def case(db: Db, source: str, case_no: str) -> dict[str, Any]:
    """One case: what it counts for, and each register with its value and the event that set it."""
    # Neither is ever stored with a NUL, and the database would refuse to look for one.
    found = None if "\0" in source + case_no else await explain.case(db, source, case_no)
    if found is None:
        raise ProblemError(
            404, "unknown-case", "no event of such a case has been counted: see whether its source and number are right"
        )
    return found


@router.get("/unplaced")
async def unplaced(db: Db, after: After = None, limit: Limit = 100) -> dict[str, Any]:
    """Cases that no figure counts, as no event has named their county or item; `missing` says which. `count` is of them all."""
    key = _read(after, 2)
    rows, next_key, count = await explain.unplaced(db, after=None if key is None else (key[0], key[1]), limit=limit)
    return {"count": count, "rows": rows, "next": None if next_key is None else _cursor(next_key)}


def _place(after: str | None) -> Place | None:
    parts = _read(after, 3)
    if parts is None:
        return None
    try:
        day = date.fromisoformat(parts[0])
    except ValueError:
        raise _no_cursor() from None
    return Place(day, parts[1], parts[2])


def _cursor(parts: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def _read(cursor: str | None, length: int) -> list[str] | None:
    if cursor is None:
        return None
    try:
        parts = orjson.loads(base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise _no_cursor() from None
    if not (isinstance(parts, list) and len(parts) == length and all(isinstance(p, str) and "\0" not in p for p in parts)):
        raise _no_cursor()
    return parts


def _no_cursor() -> ProblemError:
    return wrong("after", "not a cursor of ours: give `next` of the page before, or leave it out")
