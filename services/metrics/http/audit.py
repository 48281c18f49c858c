"""``/v1/audit``: freezes, logins to the page, counters set right, rebuilds."""

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from services.metrics.http.access import PROBLEMS, Db, operator
from shared import audit

router = APIRouter(prefix="/v1", dependencies=[Depends(operator)], responses=PROBLEMS, tags=["audit"])


@router.get("/audit", responses={200: {"model": audit.Trail}})
async def read_audit(db: Db, after: audit.After = 0, since: audit.Since = None, limit: audit.Limit = 100) -> Response:
    """Who did what, when, the earliest first; with the operator's token."""
    return await audit.read(db, "metrics", after=after, since=since, limit=limit)
