"""What a page's address chooses: item, measure, day, and the rest, each with a word of what is wrong."""

from collections.abc import Mapping
from datetime import date
from typing import Final

from services.metrics.domain.cases import MEASURES
from services.metrics.handlers.board import Chosen
from shared import counties, items

FIRST_ITEM: Final = "disabled-service"
"""What the page shows when the address does not say."""
YEARS: Final = range(2000, 2101)


class BadChoice(ValueError):
    """The address asks for what there is not; the message says it in Chinese."""


def day(given: Mapping[str, str], name: str = "as_of") -> date | None:
    """A day of the address; ``None`` where it names none.

    Raises:
        BadChoice: it is no day, or far from any that can matter.
    """
    written = given.get(name, "")
    if not written:
        return None
    try:
        found = date.fromisoformat(written)
    except ValueError:
        raise BadChoice("日期应写成 2024-09-30 这样。") from None
    if found.year not in YEARS:
        raise BadChoice(f"日期应在{YEARS[0]}年至{YEARS[-1]}年之间。")
    return found


def chosen(given: Mapping[str, str], today: date) -> Chosen:
    """Item, measure and day of an address.

    Raises:
        BadChoice: one of them is not known.
    """
    code = given.get("item") or FIRST_ITEM
    if code not in items.BY_CODE:
        raise BadChoice("没有这个事项,请从列表中选择。")
    measure = given.get("measure") or MEASURES[0]
    if measure not in MEASURES:
        raise BadChoice("没有这个指标,请从列表中选择。")
    return Chosen(items.BY_CODE[code], measure, day(given), today)


def unit(given: Mapping[str, str]) -> str | None:
    """The unit of an address, where it names one.

    Raises:
        BadChoice: the roster has no such unit.
    """
    code = given.get("county") or None
    if code is not None and code not in counties.BY_CODE:
        raise BadChoice("名册中没有这个县(市、区)。")
    return code


def one_of(given: Mapping[str, str], name: str, allowed: Mapping[str, str], what: str) -> str | None:
    """A value of the address that must be one of a list.

    Raises:
        BadChoice: it is not.
    """
    found = given.get(name) or None
    if found is not None and found not in allowed:
        raise BadChoice(f"没有这个{what},请从列表中选择。")
    return found
