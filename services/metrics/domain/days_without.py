"""Units at zero: for how many days a unit has had no case of an item."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import NamedTuple


class Handled(NamedTuple):
    """The first and the last business day on which a unit handled a case of an item."""

    item: str
    county: str
    first: date
    last: date


def days_without(handled: Sequence[Handled], counties: Collection[str], today: date) -> Mapping[tuple[str, str], int]:
    """Days from a unit's last handled case of an item to ``today``, by item and county.

    Every unit of ``counties`` is there for each item that has a case anywhere: one that never had one is counted from the
    item's first case in the city, for so long it has stood at zero beside others. Days to come count as today.
    """
    begun: dict[str, date] = {}
    last: dict[tuple[str, str], date] = {}
    for item, county, first_day, last_day in handled:
        begun[item] = min(begun.get(item, first_day), first_day)
        last[item, county] = last_day
    return {
        (item, county): max(0, (today - last.get((item, county), first_anywhere)).days)
        for item, first_anywhere in sorted(begun.items())
        for county in counties
    }
