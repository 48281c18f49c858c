"""Checking: the counters against the cases, on demand and on a schedule, and setting them right."""

import asyncio
import math
from datetime import date, datetime
from typing import Any, Final

import structlog

from services.metrics.domain import figures
from services.metrics.handlers import observing
from services.metrics.store import checks
from services.metrics.store import recount as store
from services.metrics.store.recount import Drift
from shared import audit, meters
from shared.clock import Clock, business_day
from shared.postgres import Connection, Pool, Unavailable

log = structlog.get_logger()

FIRST_CHECK_SECONDS: Final = 60.0
"""The first check comes soon after the start (a new version may count wrongly), but not into the rush of starting."""


async def consistency(db: Connection, *, item: str | None, county: str | None) -> dict[str, Any]:
    """The answer of ``/v1/consistency``: a recount of the cases against the counters."""
    found = await store.drift(db, item, county)
    return {"checked": found.checked, "drift": found.rows}


async def recount(db: Connection, *, item: str | None, county: str | None, since: date | None, as_of: date) -> dict[str, Any]:
    """The answer of ``/v1/recount``: as ``/v1/counts`` by county, from the cases instead of the counters."""
    checked, sums = await store.recount(db, item=item, county=county, since=since, as_of=as_of)
    rows = [row for row in figures.rows_by("county", sums) if county in (None, row["county"])]
    return {"item": item, "from": since, "as_of": as_of, "checked": checked, "rows": rows, "total": figures.total(rows)}


async def rebuild_from_cases(db: Connection, *, at: datetime, role: str, who: str) -> dict[str, Any]:
    """The answer of ``POST /v1/rebuild``: every counter is what the cases say; ``changed`` says which were not."""
    async with db.transaction():
        found = await store.correct(db)
        detail = {"checked": found.checked, "differing": found.differing}
        await audit.write(db, at=at, role=role, who=who, action="counters.rebuild", subject="cases", detail=detail)
        await checks.keep(db, found.checked, 0)
    if found.differing:
        log.warning("counters_corrected", differing=found.differing, first=_shown(found))
    return {"from": "cases", "checked": found.checked, "differing": found.differing, "changed": found.rows}


async def check_for_ever(pool: Pool, seconds: float, clock: Clock) -> None:
    """Checks every ``seconds`` (0: never). The worker that holds the lock does so; another takes over when it is gone.

    With it goes what only one need look at: units at zero, installations that are late. ``pool`` is for this alone: a connection of
    it is held for as long as the lock is.
    """
    _unknown()
    if seconds <= 0:
        return
    await asyncio.sleep(min(seconds, FIRST_CHECK_SECONDS))
    while True:
        try:
            async with pool.acquire() as db:
                # Let go with the connection, however that ends.
                if await db.fetchval("select pg_try_advisory_lock(hashtext('metrics.check'))"):
                    await _check_while_held(db, seconds, clock)
        except Unavailable as error:
            log.warning("consistency_not_checked", error=type(error).__name__)
        finally:
            _unknown()
        await asyncio.sleep(seconds)


async def _check_while_held(db: Connection, seconds: float, clock: Clock) -> None:
    while True:
        await observing.observe(db, business_day(clock()))
        found = await store.drift(db)
        report(found)
        await checks.keep(db, found.checked, found.differing)
        await asyncio.sleep(seconds)


def report(found: Drift) -> None:
    """Shows a check's result as metrics, and as an error when a counter differs."""
    meters.DRIFT.set(found.differing)
    meters.CHECKED.set(found.checked)
    meters.CHECKED_AT.set_to_current_time()
    if found.differing:
        log.error(
            "drift", differing=found.differing, checked=found.checked, first=_shown(found),
            what_to_do="find out what wrote these counters; `rebuild --from cases` sets them right",
        )  # fmt: skip


def _unknown() -> None:
    for gauge in (meters.DRIFT, meters.CHECKED, meters.CHECKED_AT):
        gauge.set(math.nan)
    observing.forget()


def _shown(found: Drift) -> list[str]:
    return [f"{r['item']}/{r['county']}/{r['day']}/{r['measure']}: {r['counter']} for {r['recount']}" for r in found.rows[:5]]
