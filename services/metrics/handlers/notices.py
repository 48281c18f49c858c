"""Notices: by present knowledge, frozen, and what has changed since."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from typing import Any

import orjson

from services.metrics.domain.notice import Figures, Parameters, canonical, digest, ends, last_day, notice, restatement
from services.metrics.handlers import halls, installations
from services.metrics.store import counters
from services.metrics.store import notices as store
from services.metrics.store.notices import Frozen
from shared import audit
from shared.clock import business_day, rfc3339
from shared.items import Item
from shared.postgres import Connection

Asked = Mapping[str, Any]
"""Parameters that the caller named, by their names in :class:`Parameters`."""


class FrozenOtherwise(Exception):
    """The month is frozen, and not as asked. ``frozen`` says how; ``restated`` what present knowledge changes, if anything."""

    def __init__(self, frozen: dict[str, Any], parameters: dict[str, Any], restated: dict[str, Any] | None = None) -> None:
        super().__init__("frozen otherwise")
        self.frozen = frozen
        self.parameters = parameters
        self.restated = restated


async def read(db: Connection, month: str, item: Item, today: date, asked: Asked, *, live: bool = False) -> dict[str, Any]:
    """The notice as it was frozen, with ``frozen`` and ``restatement``; by present knowledge where it was not, or ``live``.

    All from one snapshot of the database, so that its parts agree.

    Raises:
        FrozenOtherwise: it was frozen with other parameters than ``asked``.
    """

    async def answer() -> dict[str, Any]:
        kept = None if live else await store.find(db, month, item.code)
        if kept is None:
            return {**await _present(db, month, item, today, replace(Parameters(), **asked)), "frozen": None, "restatement": None}
        return await _beside(db, kept, item, today, asked)

    return await _in_one_snapshot(db, answer)


async def freeze(
    db: Connection, month: str, item: Item, now: datetime, asked: Asked, *, role: str, who: str
) -> tuple[dict[str, Any], bool]:
    """Freezes the notice; gives it as :func:`read` does, and whether it was frozen only now. A month that has ended is meant.

    Raises:
        FrozenOtherwise: it is frozen already, with other parameters or with figures that differ by now.
    """
    today = business_day(now)
    content = await _in_one_snapshot(db, lambda: _present(db, month, item, today, replace(Parameters(), **asked)))
    document, sha256 = canonical(content).decode(), digest(content)
    async with db.transaction():
        fresh = Frozen(month, item.code, document, sha256, now, who)
        if await store.freeze(db, fresh):
            detail = {"sha256": sha256, "parameters": content["parameters"]}
            await audit.write(db, at=now, role=role, who=who, action="notice.freeze", subject=f"{month}/{item.code}", detail=detail)
            return {**content, "frozen": _frozen(fresh), "restatement": None}, True

    async def standing() -> dict[str, Any]:
        kept = await store.find(db, month, item.code)
        assert kept is not None, "frozen notices are never removed"
        return await _beside(db, kept, item, today, content["parameters"])

    answer = await _in_one_snapshot(db, standing)
    if answer["restatement"]:
        raise FrozenOtherwise(answer["frozen"], answer["parameters"], answer["restatement"])
    return answer, False


async def issued(db: Connection, month: str, item: Item, asked: Asked) -> dict[str, Any] | None:
    """The notice as it was frozen, without what has become known since; ``None`` where it was not.

    Raises:
        FrozenOtherwise: it was frozen with other parameters than ``asked``.
    """
    kept = await store.find(db, month, item.code)
    if kept is None:
        return None
    document: dict[str, Any] = orjson.loads(kept.document)
    chosen = Parameters(**document["parameters"])
    if replace(chosen, **asked) != chosen:
        raise FrozenOtherwise(_frozen(kept), asdict(chosen))
    return {**document, "frozen": _frozen(kept), "restatement": None}


async def listed(db: Connection) -> dict[str, Any]:
    """Every frozen notice, without its content."""
    rows = [{**row, "frozen_at": rfc3339(row["frozen_at"])} for row in await store.listed(db)]
    return {"notices": rows}


async def _in_one_snapshot(db: Connection, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """What ``work`` reads, all as of one moment.

    Again when a rebuild swapped the tables meanwhile: the snapshot is older than the fresh ones, and would see them empty.
    """
    while True:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            tables = await store.live_tables(db)
            found = await work()
            if await store.live_tables(db) == tables:
                return found


async def _beside(db: Connection, kept: Frozen, item: Item, today: date, asked: Asked) -> dict[str, Any]:
    """A frozen notice with what has changed since."""
    document: dict[str, Any] = orjson.loads(kept.document)
    chosen = Parameters(**document["parameters"])
    if replace(chosen, **asked) != chosen:
        raise FrozenOtherwise(_frozen(kept), asdict(chosen))
    present = await _present(db, kept.month, item, today, chosen)
    return {**document, "frozen": _frozen(kept), "restatement": restatement(document, present)}


def _frozen(kept: Frozen) -> dict[str, Any]:
    on = business_day(kept.frozen_at).isoformat()
    return {"sha256": kept.sha256, "at": rfc3339(kept.frozen_at), "on": on, "by": kept.frozen_by}


async def _present(db: Connection, month: str, item: Item, today: date, chosen: Parameters) -> dict[str, Any]:
    as_of = min(last_day(month), today)
    before, before_that = ends(month)
    figures = Figures(
        now=await _sums(db, item, as_of),
        last_month=await _sums(db, item, before),
        month_before=await _sums(db, item, before_that),
        co_location=await halls.co_location(db, as_of),
        installations=await installations.figures(db, as_of=as_of, county=None, service=None),
        idle_windows=await halls.idle_windows(db, as_of.replace(day=1), as_of),
    )
    return notice(month, as_of, item, figures, chosen)


async def _sums(db: Connection, item: Item, as_of: date) -> dict[str, dict[str, int]]:
    rows = await counters.sums(db, group="county", item=item.code, since=None, as_of=as_of)
    return {row["key"]: row for row in rows}


def may_be_frozen_on(month: str) -> date:
    """The first day on which the month's notice may be frozen: the one after its last."""
    return last_day(month) + timedelta(days=1)
