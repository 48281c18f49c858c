"""Further pages that numbers of the first one open to: what changed and why, one unit's items, joint installations."""

from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.metrics.domain.access import limited
from services.metrics.domain.journal import WHYS
from services.metrics.handlers import board, changes, installations
from services.metrics.http import paging
from services.metrics.http.access import Granted, Today
from services.metrics.http.changes import cursor, read_key
from services.metrics.http.page import choosing, words
from services.metrics.http.page.choosing import BadChoice
from services.metrics.http.page.rendering import text
from services.metrics.http.page.routes import ROWS, answered, own, roster
from services.metrics.store.journal import Scope
from shared import counties
from shared.postgres import Connection

router = APIRouter(include_in_schema=False)

_CHANGES: Final[dict[str, str]] = {why: words.CAUSES[why] for why in WHYS}


@router.get("/changes")
async def changed(request: Request, access: Granted, today: Today) -> Response:
    """What moved a number since when, and the cases behind it."""
    given = request.query_params

    async def make(db: Connection) -> str:
        chosen = choosing.chosen(given, today)
        since, county = choosing.day(given, "since"), own(request, choosing.unit(given))
        why: Any = choosing.one_of(given, "why", _CHANGES, "原因")
        begin = since or chosen.until - timedelta(days=1)
        if begin > chosen.until:
            raise BadChoice("起始日期晚于截止日期,请对调。")
        scope = Scope(chosen.item.code, chosen.measure, county, begin, chosen.until)
        found = await changes.changes(db, scope, why=why, after=read_key(given.get("after")), limit=ROWS)
        return text(
            "changes.html", it=chosen, changes=limited(found, own(request)), following=cursor(found.next), roster=roster(request),
            kept_days=changes.KEPT_DAYS,
            chosen={"county": county, "why": why, "as_of": given.get("as_of"), "since": given.get("since")},
        )  # fmt: skip

    return await answered(request, access, ("changes", today, str(given)), make)


@router.get("/units/{code}")
async def unit(request: Request, access: Granted, today: Today, code: str) -> Response:
    """One unit's figures of every item."""
    given = request.query_params

    async def make(db: Connection) -> str:
        if code not in counties.BY_CODE:
            raise BadChoice("名册中没有这个县(市、区)。")
        own(request, code)
        until = choosing.day(given) or today
        rows, total = await board.unit(db, code, until)
        return text("unit.html", unit=counties.BY_CODE[code], rows=rows, total=total, until=until, as_of=given.get("as_of"))

    return await answered(request, access, ("unit", code, today, str(given)), make)


@router.get("/joint")
async def joint(request: Request, access: Granted, today: Today) -> Response:
    """Joint installations behind their number."""
    given = request.query_params

    async def make(db: Connection) -> str:
        until = choosing.day(given) or today
        county = own(request, choosing.unit(given))
        state: Any = choosing.one_of(given, "state", words.JOINT_STATES, "状态") or "open"
        after = paging.read_dated(given.get("after"), 2)
        found = await installations.joint(
            db, state, as_of=until, county=county, limit=ROWS,
            after=None if after is None else installations.Key(after[0], after[1][0]),
        )  # fmt: skip
        following = None if found.next is None else paging.cursor([found.next.since.isoformat(), found.next.subject])
        return text(
            "joint.html", until=until, rows=found.rows, counts=found.counts, following=following, states=words.JOINT_STATES,
            roster=roster(request), chosen={"as_of": given.get("as_of"), "county": county, "state": state},
        )  # fmt: skip

    return await answered(request, access, ("joint", today, str(given)), make)
