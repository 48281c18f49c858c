"""The page's answers: those of the api put together, and what the page alone shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from services.metrics.domain import board, explain
from services.metrics.domain.board import Change, PeerGroup, Spans, Why
from services.metrics.domain.figures import Ranking
from services.metrics.handlers import figures, installations
from services.metrics.store import board as store
from services.metrics.store import counters
from services.metrics.store.recount import Drift
from services.metrics.store.recount import drift as find_drift
from shared.clock import SHANGHAI
from shared.items import Item
from shared.postgres import Connection

MONTHS: Final = 24
"""Months of the trend."""
MOST_READ: Final = 200_000_000
"""Bytes of cases up to which a view of the page reads them all: about 300,000 cases, and 0.1 s for each 100,000."""
MOST_RECOUNTED: Final = 20_000_000
"""Likewise up to which a view recounts them: about 30,000 cases, and 1 s for each 100,000. Beyond, a page of its own does."""
MOST_CHANGES: Final = 2_000
MOST_SHOWN: Final = 50
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
class Changed:
    """A case behind a change."""

    source: str
    case_no: str
    change: Change


@dataclass(frozen=True, slots=True)
class Changes:
    """What was recorded since the beginning of the day before. ``cut``: there are more than were read.

    ``net`` is by how much the city's number moved thereby, apart from ``unknown`` cases of which a version is gone.
    """

    since: date
    tally: dict[Why, int]
    net: int
    unknown: int
    rows: Sequence[Changed]
    cut: bool


@dataclass(frozen=True, slots=True)
class Freshness:
    """Each source with its cases and when it last recorded anything; and the recount of this moment, unless there are many."""

    sources: Sequence[tuple[str, int, datetime]]
    drift: Drift | None


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


async def trend(db: Connection, chosen: Chosen) -> list[dict[str, Any]]:
    """Each month up to the chosen day, :data:`MONTHS` at most, with every measure."""
    begin = chosen.until.replace(day=1)
    for _ in range(MONTHS - 1):
        if begin.year > 1:
            begin = (begin - timedelta(days=1)).replace(day=1)
    answer = await figures.counts(db, item=chosen.item.code, since=begin, as_of=chosen.until, group_by="month")
    rows: list[dict[str, Any]] = answer["rows"]
    return rows


async def peers(db: Connection, chosen: Chosen, ranking: Ranking) -> list[PeerGroup]:
    """The units among those of like volume."""
    volumes = {row["key"]: row["handled"] for row in await _sums(db, None, None, chosen.until)}
    return board.peer_groups(volumes, {row.county: row.count for row in ranking.rows})


async def are_few(db: Connection) -> bool:
    """Whether there are so few cases that a page may read them all."""
    return await store.size(db) <= MOST_READ


async def changes(db: Connection, chosen: Chosen) -> Changes:
    """What was recorded of the item's cases from the beginning of the day before the chosen one to that day's end."""
    since = chosen.until - timedelta(days=1)
    first, end = _instant(since), _instant(chosen.until + timedelta(days=1))
    read = await store.recorded_since(db, first, MOST_CHANGES + 1)
    found = []
    for case in read[:MOST_CHANGES]:
        one = board.change(case.state, chosen.measure, first, end)
        if one is not None and one.item == chosen.item.code:
            found.append(Changed(case.source, case.case_no, one))
    # What is not a plain arrival comes first: it is what asks for an explanation.
    order = {why: place for place, why in enumerate(("deleted", "restored", "moved", "corrected", "new", "advanced"))}
    found.sort(key=lambda case: order[case.change.why])
    told = [case.change for case in found]
    net = sum((one.after is not None) - (one.before is not None) for one in told if not one.unknown_before)
    unknown = sum(one.unknown_before for one in told)
    return Changes(since, board.tally(told), net, unknown, found[:MOST_SHOWN], len(read) > MOST_CHANGES)


def _instant(day: date) -> int:
    return int(datetime.combine(day, time(), SHANGHAI).timestamp()) * 1_000_000


async def freshness(db: Connection) -> Freshness:
    """How fresh each source is, and whether the counters are what the cases say."""
    sources = [(source, cases, explain.instant(latest)) for source, cases, latest in await store.sources(db)]
    return Freshness(sources, await find_drift(db) if await store.size(db) <= MOST_RECOUNTED else None)


@dataclass(frozen=True, slots=True)
class Installing:
    """Installations as they stand: figures, the overdue ones that have been so for longest, open joint ones, overdue first."""

    figures: dict[str, Any]
    overdue: Sequence[dict[str, Any]]
    joint: Sequence[dict[str, Any]]
    joint_open: int


async def installing(db: Connection, as_of: date) -> Installing:
    """The part of the page on installations."""
    found = await installations.figures(db, as_of=as_of, county=None, service=None)
    asked: dict[str, Any] = {"as_of": as_of, "county": None, "after": None}
    overdue = await installations.listed(db, "overdue", service=None, company=None, limit=20, **asked)
    joint = await installations.joint(db, "open", limit=MOST_JOINT, **asked)
    rows = sorted(joint.rows, key=lambda row: -sum(bool(part["overdue"]) for part in row["parts"]))
    return Installing(found, overdue.rows, rows, (joint.counts or {}).get("open", 0))
