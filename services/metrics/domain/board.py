"""What the page shows beyond the figures of the api: changes over the month, peer groups, and why a case counts otherwise."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Final, Literal, NamedTuple

from services.metrics.domain.cases import MEASURES, CaseState, CaseView, view
from shared import counties

GROUPS: Final = ("办件较多", "办件居中", "办件较少")
"""Peer groups, by the handled cases of all items together."""


class Spans(NamedTuple):
    """The month that runs on a day, and what it is compared with: ``same_day`` is as far into the month before, at most its end."""

    begin: date
    before: date
    same_day: date
    end_before: date


def spans(as_of: date) -> Spans:
    """The spans of a day."""
    begin = as_of.replace(day=1)
    end_before = begin - timedelta(days=1)
    before = end_before.replace(day=1)
    return Spans(begin, before, min(before + timedelta(days=as_of.day - 1), end_before), end_before)


@dataclass(frozen=True, slots=True)
class Peer:
    """A unit beside units of like volume. ``volume`` is of all items, ``count`` of the item in question."""

    county: str
    name: str
    volume: int
    count: int
    above: bool
    """Whether the count is above the group's median."""


@dataclass(frozen=True, slots=True)
class PeerGroup:
    """Units of like volume, those with the greatest count first; ``median`` is of their counts."""

    name: str
    median: float
    rows: tuple[Peer, ...]


def peer_groups(volumes: Mapping[str, int], counts: Mapping[str, int]) -> list[PeerGroup]:
    """The roster in three groups of as equal a number as it goes, by volume; ties follow the roster."""
    ordered = sorted(counties.ROSTER, key=lambda c: (-volumes.get(c.code, 0), counties.ORDER[c.code]))
    most = -(-len(ordered) // len(GROUPS))
    groups = []
    for place, name in enumerate(GROUPS):
        units = ordered[place * most : (place + 1) * most]
        middle = median(counts.get(unit.code, 0) for unit in units)
        rows = [
            Peer(unit.code, unit.name, volumes.get(unit.code, 0), counts.get(unit.code, 0), counts.get(unit.code, 0) > middle)
            for unit in units
        ]
        groups.append(PeerGroup(name, middle, tuple(sorted(rows, key=lambda r: (-r.count, counties.ORDER[r.county])))))
    return groups


Why = Literal["new", "advanced", "corrected", "moved", "deleted", "restored"]
WHYS: Final[tuple[Why, ...]] = ("new", "moved", "corrected", "deleted", "restored", "advanced")


class Change(NamedTuple):
    """Why a case counts otherwise than before. ``before`` and ``after`` are (county, day) for the measure, ``None``: it did not,
    or does not, count; ``unknown_before``: a higher version replaced the case as a whole, and what it said is not kept."""

    why: Why
    item: str | None
    before: tuple[str, int] | None
    after: tuple[str, int] | None
    unknown_before: bool


def change(state: CaseState, measure: str, since: int, until: int) -> Change | None:
    """What was recorded of a case from ``since`` up to before ``until`` (microseconds since the epoch), as the state tells it.

    The state keeps the events that win a register. An older event that a later one replaced in every register is gone, so
    that such a correction reads as new, or as a further step. ``None``: nothing of it moved a figure.
    """
    known = tuple(event for event in state.events if event.recorded_at < until)
    fresh = [event for event in known if event.recorded_at >= since]
    if not fresh:
        return None
    old = tuple(event for event in known if event.recorded_at < since)
    now = view(CaseState(state.version, known))
    then = view(CaseState(state.version, old))
    why: Why | None
    if old:
        why = _why(then, now, retracted=any(event.operation == "retract" for event in fresh))
    elif state.version > 1:
        why = "deleted" if now.deleted else "corrected"
    else:
        why = "new" if now.contribution is not None else "deleted" if now.deleted else None
    if why is None:
        return None
    return Change(why, now.item or then.item, _place(then, measure), _place(now, measure), not old and why != "new")


def _why(then: CaseView, now: CaseView, *, retracted: bool) -> Why | None:
    if now.deleted != then.deleted:
        return "deleted" if now.deleted else "restored"
    old, new = then.contribution, now.contribution
    if new is None:
        return None if old is None else "corrected"
    if old is None:
        return "new"
    if (old.county, old.item) != (new.county, new.item):
        return "moved"
    if retracted or any(a is not None and a != b for a, b in zip(old.days, new.days, strict=True)):
        return "corrected"
    return "advanced" if old != new else None


def _place(shown: CaseView, measure: str) -> tuple[str, int] | None:
    contribution = shown.contribution
    day = None if contribution is None else contribution.days[MEASURES.index(measure)]
    return None if contribution is None or day is None else (contribution.county, day)


def tally(changes: Iterable[Change]) -> dict[Why, int]:
    """How many changes there are of each kind, zeros included."""
    found: dict[Why, int] = dict.fromkeys(WHYS, 0)
    for one in changes:
        found[one.why] += 1
    return found


def nice_ceiling(most: int) -> int:
    """The end of a chart's axis: 1, 2, 2.5 or 5 times a power of ten, at least ``most`` and at least 4."""
    power = 1
    while True:
        for step in (1, 2, 2.5, 5):
            if (end := step * power) >= max(most, 4) and end == int(end):
                return int(end)
        power *= 10
