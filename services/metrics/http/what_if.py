"""``POST /v1/what-if``: what counting some events would move, for whoever is about to have them counted."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Response

from services.metrics.handlers.what_if import what_if
from services.metrics.http.access import PROBLEMS, Db, answer, operator
from shared.problems import described

MOST_EVENTS: Final = 10_000

router = APIRouter(prefix="/v1", dependencies=[Depends(operator)], responses=PROBLEMS, tags=["operating"])

REFUSED: Final = described({400: "The body is not JSON.", 403: "The token is not the operator's."})
Events = Annotated[list[dict[str, Any]], Body(max_length=MOST_EVENTS, description="Case events as they would be published.")]


@router.post("/what-if", responses=REFUSED)
async def ask(db: Db, events: Events) -> Response:
    """How each counter (county, item, business day, measure) would move if these events were counted now. Nothing is written."""
    return answer(await what_if(db, events))
