"""What changed since when, and why: by how much a figure moved over days of arrival, and the cases behind it."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog

from services.metrics.domain.journal import CAUSES, WHYS, Cause, Why
from services.metrics.store import journal as store
from services.metrics.store.journal import Key, Scope
from shared.clock import Clock, business_day
from shared.postgres import Connection, Pool, Unavailable

log = structlog.get_logger()

KEPT_DAYS: Final = 400
"""For so long it is known what moved and why: a year, and the month in which it is looked back upon."""
PRUNE_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Changes:
    """By how much the figure moved: ``net``, which is the sum of ``by``; how many cases changed (``cases``); and how many of the
    moved ones came into the scope and left it. ``rows`` are the changes, the newest first; ``next`` where more follow."""

    scope: Scope
    net: int
    by: dict[Cause, int]
    cases: dict[Why, int]
    moved_in: int
    moved_out: int
    rows: list[dict[str, Any]]
    next: Key | None


async def changes(db: Connection, scope: Scope, *, why: Why | None = None, after: Key | None = None, limit: int) -> Changes:
    """What moved a figure over the days of a scope. ``why`` chooses among the rows alone.

    All of one snapshot; a change is in the journal up to about half a second before the figure moves.
    """
    async with db.transaction(isolation="repeatable_read", readonly=True):
        moved = await store.moves(db, scope)
        tally = {row["why"]: row for row in await store.tally(db, scope)}
        rows = await store.listed(db, scope, why=why, after=after, most=limit + 1)
    by: dict[Cause, int] = {cause: moved.get(cause, 0) for cause in CAUSES}
    relocated = tally.get("moved", {"came": 0, "went": 0})
    last = rows[limit - 1] if len(rows) > limit else None
    return Changes(
        scope, sum(by.values()), by, {kind: tally[kind]["changes"] if kind in tally else 0 for kind in WHYS},
        relocated["came"], relocated["went"], [_row(row) for row in rows[:limit]],
        None if last is None else Key(last["at"], last["id"]),
    )  # fmt: skip


def _row(row: dict[str, Any]) -> dict[str, Any]:
    def side(which: str) -> dict[str, Any] | None:
        day = row[f"day_{which}"]
        return None if day is None else {"item": row[f"item_{which}"], "county": row[f"county_{which}"], "day": day}

    return {name: row[name] for name in ("at", "source", "case_no", "why")} | {"before": side("before"), "after": side("after")}


async def prune_for_ever(pool: Pool, clock: Clock) -> None:
    """Forgets what is older than :data:`KEPT_DAYS`, every hour until cancelled. Several workers doing so harm nothing."""
    while True:
        try:
            async with pool.acquire() as db:
                await store.prune(db, business_day(clock()) - timedelta(days=KEPT_DAYS))
        except Unavailable as error:
            log.warning("journal_not_pruned", error=type(error).__name__)
        await asyncio.sleep(PRUNE_SECONDS)
