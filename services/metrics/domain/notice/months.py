"""Months as notices name them: ``YYYY-MM``, their last days, and the words for a day."""

import calendar
from datetime import date, timedelta


def last_day(month: str) -> date:
    """The last day of ``YYYY-MM``.

    Raises:
        ValueError: no such month.
    """
    first = date.fromisoformat(f"{month}-01")
    return first.replace(day=calendar.monthrange(first.year, first.month)[1])


def ends(month: str) -> tuple[date, date]:
    """The last days of the month before, and of the one before that."""
    before = last_day(month).replace(day=1) - timedelta(days=1)
    return before, before.replace(day=1) - timedelta(days=1)


def day(iso: str) -> str:
    """``2024-09-30`` as 2024年9月30日."""
    on = date.fromisoformat(iso)
    return f"{on.year}年{on.month}月{on.day}日"


def until(month: str, as_of: str) -> str:
    """截至9月底, or, while the month runs, 截至9月15日."""
    on = date.fromisoformat(as_of)
    return f"截至{on.month}月底" if on == last_day(month) else f"截至{on.month}月{on.day}日"


def name(month: str) -> str:
    """9月."""
    return f"{int(month[5:])}月"


def name_before(month: str) -> str:
    """8月, and for a January 上年12月."""
    number = int(month[5:])
    return f"{number - 1}月" if number > 1 else "上年12月"
