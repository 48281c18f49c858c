"""Figures as they are answered: a row for every unit of the roster, rankings, and units that stand low."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

from services.metrics.domain.cases import MEASURES
from shared import counties, items

Group = Literal["county", "day", "month", "item"]
LowOp = Literal["lt", "le"]
Ties = Literal["skip", "dense"]


MOST_DAYS: Final = 7305
"""Twenty years. A sender's clock that says the year 1 would else make a row for each day since."""


class TooManyDays(ValueError):
    """A row for each day would be too many; the message says what to ask instead."""


def empty() -> dict[str, int]:
    """A zero for each measure."""
    return dict.fromkeys(MEASURES, 0)


def rows_by(group: Group, sums: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a group, zeros included: every unit of the roster, every item of the catalogue, every day or month from
    the first to the last that has a counter. ``sums`` have ``key`` and the measures."""
    found = {row["key"]: {measure: row[measure] for measure in MEASURES} for row in sums}
    if group == "county":
        return [{"county": c.code, "name": c.name, **found.get(c.code, empty())} for c in counties.ROSTER]
    if group == "item":
        return [{"item": i.code, "name": i.name, **found.get(i.code, empty())} for i in items.CATALOGUE]
    if group == "day":
        return [{"day": day.isoformat(), **found.get(day, empty())} for day in _between(found, timedelta(days=1))]
    return [{"month": f"{day:%Y-%m}", **found.get(day, empty())} for day in _months(found)]


def _between(found: Iterable[date], step: timedelta) -> Iterator[date]:
    days = sorted(found)
    if days and (days[-1] - days[0]).days > MOST_DAYS:
        raise TooManyDays(f"the days from {days[0]} to {days[-1]} are over {MOST_DAYS}: name a later from, or group by month")
    day = days[0] if days else date.max
    while days and day <= days[-1]:
        yield day
        day += step


def _months(found: Iterable[date]) -> Iterator[date]:
    months = sorted(found)
    month = months[0] if months else date.max
    while months and month <= months[-1]:
        yield month
        month = (month + timedelta(days=31)).replace(day=1)


def total(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The rows added up, a figure a measure."""
    added = empty()
    for row in rows:
        for measure in MEASURES:
            added[measure] += row[measure]
    return added


@dataclass(frozen=True, slots=True)
class Ranked:
    """A unit's place. ``share`` is its part of the whole, ``None`` when the whole is 0."""

    rank: int
    county: str
    name: str
    pilot: bool
    count: int
    share: float | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """All units by count, and those that stand low. Ties share a rank (1, 1, 3), then follow the roster."""

    total: int
    rows: tuple[Ranked, ...]
    low: tuple[str, ...]
    zero: tuple[str, ...]


def rank(counts: Mapping[str, int], pilots: frozenset[str], *, low: int = 10, low_op: LowOp = "lt", ties: Ties = "skip") -> Ranking:
    """Ranks every unit of the roster; a unit without a count has 0.

    ``low`` and ``low_op``: a unit stands low with fewer than ``low`` cases (``lt``), or with ``low`` or fewer (``le``:
    the legal reading of "10件以下"). ``ties``: the rank after a tie leaves out as many (``skip``: 1, 1, 3), or none
    (``dense``: 1, 1, 2).
    """
    in_order = sorted(counties.ROSTER, key=lambda c: (-counts.get(c.code, 0), counties.ORDER[c.code]))
    whole = sum(counts.get(c.code, 0) for c in counties.ROSTER)
    rows: list[Ranked] = []
    for place, county in enumerate(in_order, start=1):
        count = counts.get(county.code, 0)
        following = rows[-1].rank + 1 if rows and ties == "dense" else place
        shared_rank = rows[-1].rank if rows and rows[-1].count == count else following
        share = count / whole if whole else None
        rows.append(Ranked(shared_rank, county.code, county.name, county.code in pilots, count, share))
    stands_low = [row for row in rows if row.count < low or (low_op == "le" and row.count == low)]
    return Ranking(
        total=whole,
        rows=tuple(rows),
        low=tuple(row.county for row in stands_low),
        zero=tuple(row.county for row in rows if row.count == 0),
    )


def top(ranking: Ranking, most: int | None) -> Sequence[Ranked]:
    """The rows of rank ``most`` or better: a tie at the end is not cut."""
    return ranking.rows if most is None else [row for row in ranking.rows if row.rank <= most]
