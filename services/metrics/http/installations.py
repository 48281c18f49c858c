"""Installations: figures by county and service, what stands behind them, and joint installations (CONTRACT §4)."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response

from services.metrics.handlers import installations
from services.metrics.handlers.installations import JointStatus, Key, Listed
from services.metrics.http import paging
from services.metrics.http.access import (
    PROBLEMS,
    Asking,
    AsOf,
    CountyCode,
    Db,
    Granted,
    Today,
    answer,
    own_county,
    reader,
    standing,
)
from services.metrics.http.paging import After, Limit
from shared.events.case import Service
from shared.events.envelope import IDENTIFIER

ServiceCode = Annotated[Service | None, Query(description="One of the seven services.")]
Company = Annotated[str | None, Query(description="A company's id.", pattern=IDENTIFIER)]

router = APIRouter(prefix="/v1", dependencies=[Depends(reader)], responses=PROBLEMS, tags=["installations"])


@router.get("/installations", response_class=JSONResponse)
async def figures(
    access: Granted, asker: Asking, today: Today, as_of: AsOf = None, county: CountyCode = None, service: ServiceCode = None
) -> Response:
    """Installations by county and service at the end of a business day: every unit of the roster has a row for each service.

    `opened` = `connected` + `cancelled` + `in_progress`; `due_soon` and `overdue` are among those in progress. Working days from
    acceptance to connection, pauses left out; the median is null where none is connected.
    """
    until = as_of or today
    if county is not None:
        own_county(asker, county)
    return await standing(
        access, asker, ("installations", until, county, service),
        lambda db: installations.figures(db, as_of=until, county=county, service=service),
    )  # fmt: skip


@router.get("/installations/list", response_class=JSONResponse)
async def listed(
    db: Db,
    asker: Asking,
    today: Today,
    state: Annotated[Listed, Query(description="Which number of `/v1/installations` to open.")] = "overdue",
    as_of: AsOf = None,
    county: CountyCode = None,
    service: ServiceCode = None,
    company: Company = None,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """The installations behind a number of `/v1/installations`, those that have stood so for longest first.

    `next` is given as `after` for the next page, and null on the last one. The first page has `count`, the number itself.
    Give every page the same parameters, `as_of` too.
    """
    until = as_of or today
    county = own_county(asker, county)
    page = await installations.listed(
        db, state, as_of=until, county=county, service=service, company=company, after=_key(after), limit=limit
    )
    asked = {"as_of": until, "state": state, "county": county, "service": service, "company": company}
    return answer({**asked, **_told(page)})


@router.get("/joint-installations", response_class=JSONResponse)
async def joint(
    db: Db,
    asker: Asking,
    today: Today,
    as_of: AsOf = None,
    county: CountyCode = None,
    state: Annotated[JointStatus | None, Query(description="All without it.")] = None,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """Joint installations as they stood at the end of a business day, the oldest first: each part, the slowest, and what was
    waited for. Pages as `/v1/installations/list`; the first has how many are `open`, `complete` and `ended`.
    """
    until = as_of or today
    county = own_county(asker, county)
    page = await installations.joint(db, state, as_of=until, county=county, after=_key(after), limit=limit)
    return answer({"as_of": until, "county": county, "state": state, **_told(page)})


def _key(after: str | None) -> Key | None:
    parts = paging.read_dated(after, 2)
    return None if parts is None else Key(parts[0], parts[1][0])


def _told(page: installations.Page) -> dict[str, Any]:
    following = None if page.next is None else paging.cursor([page.next.since.isoformat(), page.next.subject])
    return {**(page.counts or {}), "rows": page.rows, "next": following}
