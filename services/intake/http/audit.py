"""``/v1/audit``: what operators did about parked records."""

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from services.intake.http.access import Index, described
from shared import audit


def routes(index: Index) -> APIRouter:
    """The route of the audit."""
    router = APIRouter(tags=["audit"], dependencies=[Depends(index.operator)], responses=described(401, 422, 503))

    @router.get("/v1/audit", responses={200: {"model": audit.Trail}})
    async def read_audit(after: audit.After = 0, since: audit.Since = None, limit: audit.Limit = 100) -> Response:
        """Who did what, when, the earliest first; with the operator's token."""
        async with index.connection() as db:
            return await audit.read(db, "intake", after=after, since=since, limit=limit)

    return router
