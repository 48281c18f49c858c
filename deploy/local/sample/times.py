"""When things happen in the sample: working days and office hours of 2024, drawn from a seeded generator."""

from datetime import date, datetime, time, timedelta
from random import Random
from typing import Final

from shared.clock import SHANGHAI


def _days(first: str, last: str) -> list[date]:
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


HOLIDAYS: Final = frozenset(
    _days("2024-04-04", "2024-04-06")
    + _days("2024-05-01", "2024-05-05")
    + _days("2024-06-08", "2024-06-10")
    + _days("2024-09-15", "2024-09-17")
    + _days("2024-10-01", "2024-10-07")
)
MADE_UP_FOR: Final = frozenset(
    date.fromisoformat(day) for day in ("2024-04-07", "2024-04-28", "2024-05-11", "2024-09-14", "2024-09-29", "2024-10-12")
)
"""The State Council's arrangement for 2024, from the end of March on."""


def is_working_day(day: date) -> bool:
    return day in MADE_UP_FOR or (day.weekday() < 5 and day not in HOLIDAYS)


def working_days(first: date, last: date) -> list[date]:
    """The working days from ``first`` to ``last``, both inclusive."""
    return [
        day
        for day in (date.fromordinal(ordinal) for ordinal in range(first.toordinal(), last.toordinal() + 1))
        if is_working_day(day)
    ]


def after_working_days(day: date, count: int) -> date:
    """The working day that is ``count`` working days after ``day``."""
    while count:
        day += timedelta(days=1)
        count -= is_working_day(day)
    return day


def office_hour(rng: Random, day: date) -> datetime:
    """A moment of ``day`` while the hall is open: 9:00 to 12:00 or 13:30 to 17:00."""
    minute = rng.choice([rng.randrange(9 * 60, 12 * 60), rng.randrange(13 * 60 + 30, 17 * 60)])
    return _at(rng, day, minute)


def any_hour(rng: Random, day: date) -> datetime:
    """A moment between 6:00 and midnight: people apply online in the evening and on holidays too."""
    return _at(rng, day, rng.randrange(6 * 60, 24 * 60))


def around_midnight(rng: Random, day: date, *, late: bool) -> datetime:
    """Within the last (``late``) or the first half hour of ``day``, where the time zone decides the day."""
    return _at(rng, day, rng.randrange(23 * 60 + 30, 24 * 60) if late else rng.randrange(30))


def _at(rng: Random, day: date, minute: int) -> datetime:
    return datetime.combine(day, time(minute // 60, minute % 60, rng.randrange(60)), SHANGHAI)
