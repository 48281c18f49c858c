"""Working days in China, by the State Council's yearly notices as the library ``chinesecalendar`` carries them.

A notice for a year is published late in the year before. Beyond the last year that the library knows, only weekends are
left out: such results are *provisional* (:attr:`Calendar.published_until`), and change when the library is renewed.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from chinese_calendar import constants


@dataclass(frozen=True)
class Calendar:
    """Weekdays, but for ``holidays`` (weekdays off), and ``make_ups`` (weekend days worked), known until ``published_until``."""

    holidays: tuple[date, ...]
    make_ups: tuple[date, ...]
    published_until: date
    digest: str = field(init=False)
    _holidays: tuple[int, ...] = field(init=False, repr=False)
    _make_ups: tuple[int, ...] = field(init=False, repr=False)

    def __init__(self, holidays: Iterable[date], make_ups: Iterable[date], published_until: date) -> None:
        """``holidays`` on weekends and ``make_ups`` on weekdays say nothing that the weekday does not say."""
        put = object.__setattr__
        put(self, "holidays", tuple(sorted(day for day in holidays if day.weekday() < 5)))
        put(self, "make_ups", tuple(sorted(day for day in make_ups if day.weekday() >= 5)))
        put(self, "published_until", published_until)
        put(self, "_holidays", tuple(day.toordinal() for day in self.holidays))
        put(self, "_make_ups", tuple(day.toordinal() for day in self.make_ups))
        content = repr((self.holidays, self.make_ups, published_until))
        put(self, "digest", hashlib.sha256(content.encode()).hexdigest()[:16])

    def is_working_day(self, day: date) -> bool:
        """Whether offices work on ``day``."""
        return self.working_days_until(day.toordinal()) > self.working_days_until(day.toordinal() - 1)

    def is_provisional(self, day: date) -> bool:
        """Whether ``day`` lies in a year whose notice is not known."""
        return day > self.published_until

    def add(self, start: date, days: int) -> date:
        """The ``days``-th working day after ``start``, which is itself not counted; ``start`` for 0.

        Raises:
            ValueError: ``days`` is negative.
        """
        if days < 0:
            raise ValueError("working days are added, not taken away")
        if days == 0:
            return start
        wanted = self.working_days_until(start.toordinal()) + days
        found = start + timedelta(days=days)
        while (missing := wanted - self.working_days_until(found.toordinal())) > 0:
            found += timedelta(days=missing)
        return found

    def between(self, start: date, end: date) -> int:
        """How many working days lie after ``start``, up to and including ``end``; 0 where ``end`` is not after it."""
        return max(0, self.working_days_until(end.toordinal()) - self.working_days_until(start.toordinal()))

    def working_days_until(self, ordinal: int) -> int:
        """Working days from 1 January of the year 1, a Monday, up to and including the day with this ordinal."""
        weeks, rest = divmod(ordinal, 7)
        return weeks * 5 + min(rest, 5) - bisect_right(self._holidays, ordinal) + bisect_right(self._make_ups, ordinal)


PUBLISHED: Final = Calendar(constants.holidays, constants.workdays, date(max(constants.holidays).year, 12, 31))
"""What is published."""


def is_working_day(day: date) -> bool:
    """Whether offices work on ``day``.

    >>> is_working_day(date(2024, 9, 29)), is_working_day(date(2024, 10, 1))
    (True, False)
    """
    return PUBLISHED.is_working_day(day)


def add_working_days(start: date, days: int) -> date:
    """The ``days``-th working day after ``start``; see :meth:`Calendar.add`.

    >>> add_working_days(date(2024, 9, 30), 1)
    datetime.date(2024, 10, 8)
    """
    return PUBLISHED.add(start, days)


def working_days_between(start: date, end: date) -> int:
    """How many working days lie after ``start``, up to and including ``end``; see :meth:`Calendar.between`."""
    return PUBLISHED.between(start, end)


def is_provisional(day: date) -> bool:
    """Whether ``day`` lies in a year whose notice is not known; see :meth:`Calendar.is_provisional`."""
    return PUBLISHED.is_provisional(day)
