"""What the page shows beyond the figures of the api: changes over the month, and peer groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Final, NamedTuple

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


def nice_ceiling(most: int) -> int:
    """The end of a chart's axis: 1, 2, 2.5 or 5 times a power of ten, at least ``most`` and at least 4."""
    power = 1
    while True:
        for step in (1, 2, 2.5, 5):
            if (end := step * power) >= max(most, 4) and end == int(end):
                return int(end)
        power *= 10
