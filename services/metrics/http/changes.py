"""What changed since when, and why (CONTRACT §4, and beyond it)."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response

from services.metrics.domain.access import limited
from services.metrics.domain.journal import Why
from services.metrics.handlers import changes as answers
from services.metrics.http import paging
from services.metrics.http.access import (
    PROBLEMS,
    Asking,
    AsOf,
    CountyCode,
    Db,
    Today,
    answer,
    known_item,
    own_county,
    reader,
    wrong,
)
from services.metrics.http.figures import Measure, RequiredItem
from services.metrics.http.paging import After, Limit
from services.metrics.store.journal import Key, Scope
from shared.clock import rfc3339

router = APIRouter(prefix="/v1", dependencies=[Depends(reader)], responses=PROBLEMS, tags=["explaining"])

YEARS = range(2000, 2101)
"""When a change can have arrived; far from where the calendar ends."""

FirstDay = Annotated[
    date | None, Query(description="First day of arrival in Asia/Shanghai, from 0:00 on; the day before `as_of` without it.")
]
WhyChosen = Annotated[Why | None, Query(description="Only rows of this kind; the sums stay those of all.")]


@router.get("/changes", response_class=JSONResponse)
async def changes(
    db: Db,
    asker: Asking,
    today: Today,
    item: RequiredItem,
    measure: Measure = "handled",
    county: CountyCode = None,
    since: FirstDay = None,
    as_of: AsOf = None,
    why: WhyChosen = None,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """By how much a number (over all business days) moved by what arrived from `since` to the end of `as_of`, and why.

    `net` is the sum of `by`: `new` arrivals, what was `moved` between counties or items, `corrected`, `deleted`, `restored`, and
    what a `recount` set right. `cases` is how many cases changed so; of the moved ones `moved_in` came and `moved_out` left.
    `rows` are these changes, the newest first, with what counted before and what of it after. Known for 400 days.
    """
    until = as_of or today
    begin = since or (until - timedelta(days=1) if until > date.min else until)
    if begin > until:
        raise wrong("since", "later than as_of: swap them, or leave one out")
    county = own_county(asker, county)
    scope = Scope(known_item(item).code, measure, county, begin, until)
    found = await answers.changes(db, scope, why=why, after=read_key(after), limit=limit)
    return answer(
        {
            "item": item, "measure": measure, "county": county, "since": begin, "until": until,
            "net": found.net, "by": found.by, "cases": found.cases, "moved_in": found.moved_in, "moved_out": found.moved_out,
            "rows": limited([{**row, "at": rfc3339(row["at"])} for row in found.rows], asker.own), "next": cursor(found.next),
        }
    )  # fmt: skip


def cursor(key: Key | None) -> str | None:
    """Where the next page begins, as one word."""
    return None if key is None else paging.cursor([key.at.isoformat(), str(key.id)])


def read_key(after: str | None) -> Key | None:
    """The inverse of :func:`cursor`.

    Raises:
        ProblemError: 422, not a cursor of ours.
    """
    parts: list[Any] | None = paging.read(after, 2)
    if parts is None:
        return None
    try:
        at, number = datetime.fromisoformat(parts[0]), int(parts[1])
    except ValueError:
        raise paging.no_cursor() from None
    if at.tzinfo is None or at.year not in YEARS or not 0 <= number < 2**63:
        raise paging.no_cursor()
    return Key(at, number)
