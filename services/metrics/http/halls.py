"""Halls: co-location and idle windows (CONTRACT §4, ``docs/co-location.md``)."""

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, Response

from services.metrics.handlers import halls
from services.metrics.http.access import PROBLEMS, Asking, AsOf, Granted, Since, Today, check_range, reader, standing

router = APIRouter(prefix="/v1", dependencies=[Depends(reader)], responses=PROBLEMS, tags=["halls"])


@router.get("/co-location", response_class=JSONResponse)
async def co_location(access: Granted, asker: Asking, today: Today, as_of: AsOf = None) -> Response:
    """Which companies really handle their business in each county's hall at the end of a business day."""
    until = as_of or today
    return await standing(access, asker, ("co-location", until), lambda db: halls.co_location(db, until))


@router.get("/idle-windows", response_class=JSONResponse)
async def idle_windows(access: Granted, asker: Asking, today: Today, as_of: AsOf = None, since: Since = None) -> Response:
    """Companies that stand co-located on `as_of` while from `from` to `as_of` no step of an installation happened there and no
    public service was reported. `reported` tells who reported zero from who reported nothing.
    """
    until = as_of or today
    check_range(since, until)
    return await standing(access, asker, ("idle-windows", since, until), lambda db: halls.idle_windows(db, since, until))
