"""The page's answers: those of the api put together, and what the page alone shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from services.metrics.domain import board, explain
from services.metrics.domain import figures as rules
from services.metrics.domain.board import PeerGroup, Spans
from services.metrics.domain.figures import Ranking
from services.metrics.handlers import changes as journal
from services.metrics.handlers import figures, installations
from services.metrics.handlers.changes import Changes
from services.metrics.store import checks, counters, heard
from services.metrics.store.checks import Check
from services.metrics.store.journal import Scope
from services.metrics.store.recount import drift as find_drift
from shared.clock import now
from shared.items import Item
from shared.postgres import Connection

MONTHS: Final = 24
"""Months of the trend."""
MOST_RECOUNTED: Final = 20_000_000
"""Bytes of cases up to which a view of the page recounts them: about 30,000 cases, and 1 s for each 100,000. Beyond, the last check
of the schedule is shown, and a page of its own recounts."""
MOST_SHOWN: Final = 10
MOST_JOINT: Final = 100

Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a page is about; ``as_of`` is ``None`` for always today."""

    item: Item
    measure: str
    as_of: date | None
    today: date

    @property
    def until(self) -> date:
        return self.as_of or self.today


@dataclass(frozen=True, slots=True)
class Standing:
    """How the item stands: the ranking, what each unit added since the month before ended, and the month that runs."""

    ranking: Ranking
    low: int
    spans: Spans
    added: Counts
    this_month: int
    month_before_so_far: int
    month_before: int


@dataclass(frozen=True, slots=True)
class Freshness:
    """Each source with the latest moment that it recorded anything, and when it was last heard; and the last recount, which is
    one of this moment where there are few cases."""

    sources: Sequence[tuple[str, datetime, datetime]]
    check: Check | None
    at_this_moment: bool


async def standing(db: Connection, chosen: Chosen, low: int = 10) -> Standing:
    """What the page shows first, and keeps live."""
    spans = board.spans(chosen.until)
    item, measure = chosen.item, chosen.measure
    ranking = await figures.ranking(db, item=item, measure=measure, as_of=chosen.until, low=low, low_op="lt")
    month = {row["key"]: row[measure] for row in await _sums(db, item, spans.begin, chosen.until)}
    so_far = sum(row[measure] for row in await _sums(db, item, spans.before, spans.same_day))
    before = so_far
    if spans.same_day < spans.end_before:
        before = sum(row[measure] for row in await _sums(db, item, spans.before, spans.end_before))
    return Standing(ranking, low, spans, month, sum(month.values()), so_far, before)


async def _sums(db: Connection, item: Item | None, since: date | None, as_of: date) -> list[dict[str, Any]]:
    return await counters.sums(db, group="county", item=item.code if item else None, since=since, as_of=as_of)


async def trend(db: Connection, chosen: Chosen, county: str | None = None) -> list[dict[str, Any]]:
    """Each month up to the chosen day, :data:`MONTHS` at most, with every measure; of one unit or all."""
    begin = chosen.until.replace(day=1)
    for _ in range(MONTHS - 1):
        if begin.year > 1:
            begin = (begin - timedelta(days=1)).replace(day=1)
    answer = await figures.counts(db, item=chosen.item.code, since=begin, as_of=chosen.until, group_by="month", county=county)
    rows: list[dict[str, Any]] = answer["rows"]
    return rows


async def unit(db: Connection, county: str, as_of: date) -> tuple[list[dict[str, Any]], Counts]:
    """One unit's figures: a row for each item of the catalogue, and their sum."""
    rows = rules.rows_by("item", await counters.sums(db, group="item", item=None, since=None, as_of=as_of, county=county))
    return rows, rules.total(rows)


async def peers(db: Connection, chosen: Chosen, ranking: Ranking) -> list[PeerGroup]:
    """The units among those of like volume."""
    volumes = {row["key"]: row["handled"] for row in await _sums(db, None, None, chosen.until)}
    return board.peer_groups(volumes, {row.county: row.count for row in ranking.rows})


async def changes(db: Connection, chosen: Chosen, county: str | None = None) -> Changes:
    """What moved the item's figure, of one unit or all, from the beginning of the day before the chosen one to that day's end."""
    scope = Scope(chosen.item.code, chosen.measure, county, chosen.until - timedelta(days=1), chosen.until)
    return await journal.changes(db, scope, limit=MOST_SHOWN)


async def freshness(db: Connection) -> Freshness:
    """How fresh each source is, and whether the counters are what the cases say."""
    sources = [(one.source, explain.instant(one.latest_at), one.heard_at) for one in await heard.sources(db)]
    if await checks.bytes_to_read(db) > MOST_RECOUNTED:
        return Freshness(sources, await checks.last(db), False)
    found = await find_drift(db)
    return Freshness(sources, Check(now(), found.checked, found.differing), True)


@dataclass(frozen=True, slots=True)
class Installing:
    """Installations as they stand: figures, the overdue ones that have been so for longest, open joint ones, overdue first."""

    figures: dict[str, Any]
    overdue: Sequence[dict[str, Any]]
    joint: Sequence[dict[str, Any]]
    joint_open: int


async def installing(db: Connection, as_of: date, county: str | None = None) -> Installing:
    """The part of the page on installations, of one unit or all."""
    found = await installations.figures(db, as_of=as_of, county=county, service=None)
    asked: dict[str, Any] = {"as_of": as_of, "county": county, "after": None}
    overdue = await installations.listed(db, "overdue", service=None, company=None, limit=20, **asked)
    joint = await installations.joint(db, "open", limit=MOST_JOINT, **asked)
    rows = sorted(joint.rows, key=lambda row: -sum(bool(part["overdue"]) for part in row["parts"]))
    return Installing(found, overdue.rows, rows, (joint.counts or {}).get("open", 0))
