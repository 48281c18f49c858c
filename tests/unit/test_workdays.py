"""Working days against the State Council's notices for 2024 to 2026, and against counting day by day."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.workdays import PUBLISHED, Calendar, add_working_days, is_provisional, is_working_day, working_days_between

MAKE_UPS = [
    "2024-02-04", "2024-02-18", "2024-04-07", "2024-04-28", "2024-05-11", "2024-09-14", "2024-09-29", "2024-10-12",
    "2025-01-26", "2025-02-08", "2025-04-27", "2025-09-28", "2025-10-11",
    "2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10",
]  # fmt: skip
"""Weekend days that the notices have people work on."""

DAYS = st.dates(date(2023, 11, 1), date(2028, 2, 1))


def test_make_up_days_are_the_only_weekend_days_worked_on() -> None:
    span = (date(2024, 1, 1) + timedelta(days=n) for n in range(3 * 365 + 1))
    assert [str(day) for day in span if day.weekday() >= 5 and is_working_day(day)] == MAKE_UPS


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2024-02-10", "2024-02-17"), ("2024-05-01", "2024-05-05"), ("2024-10-01", "2024-10-07"),  # 2024
        ("2025-01-28", "2025-02-04"), ("2025-05-01", "2025-05-05"), ("2025-10-01", "2025-10-08"),  # 2025
        ("2026-01-01", "2026-01-03"), ("2026-02-15", "2026-02-23"), ("2026-10-01", "2026-10-07"),  # 2026
    ],
)  # fmt: skip
def test_the_published_holidays_are_no_working_days(first: str, last: str) -> None:
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    assert not any(is_working_day(begin + timedelta(days=n)) for n in range((end - begin).days + 1))
    assert working_days_between(begin - timedelta(days=1), end) == 0
    assert is_working_day(end + timedelta(days=1))


@pytest.mark.parametrize(
    ("start", "days", "due"),
    [
        ("2024-09-27", 2, "2024-09-30"),  # National Day 2024: Sunday 29 September is worked
        ("2024-09-27", 3, "2024-10-08"),
        ("2024-09-30", 5, "2024-10-12"),  # and so is Saturday 12 October
        ("2025-01-24", 3, "2025-02-05"),  # Spring Festival 2025: Sunday 26 and Monday 27 January, then 5 February
        ("2025-01-27", 5, "2025-02-10"),  # 5, 6, 7, Saturday 8 and Monday 10 February
        ("2024-10-05", 1, "2024-10-08"),  # begun on a holiday
        ("2024-10-05", 0, "2024-10-05"),
        ("2026-12-31", 1, "2027-01-01"),  # by weekends only: provisional
    ],
)
def test_examples_of_adding(start: str, days: int, due: str) -> None:
    assert str(add_working_days(date.fromisoformat(start), days)) == due
    assert is_provisional(date.fromisoformat(due)) == (due > "2026-12-31")


@given(DAYS, st.integers(0, 120))
def test_adding_is_counting_day_by_day(start: date, days: int) -> None:
    day, left = start, days
    while left:
        day += timedelta(days=1)
        left -= is_working_day(day)
    assert add_working_days(start, days) == day
    assert working_days_between(start, day) == days


@given(DAYS, DAYS)
def test_between_is_counting_day_by_day(start: date, end: date) -> None:
    days = (start + timedelta(days=n) for n in range(1, (end - start).days + 1))
    assert working_days_between(start, end) == sum(map(is_working_day, days))


@given(DAYS)
def test_beyond_what_is_published_only_weekends_are_left_out(day: date) -> None:
    if is_provisional(day):
        assert is_working_day(day) == (day.weekday() < 5)


def test_nothing_can_be_taken_away() -> None:
    with pytest.raises(ValueError, match="not taken away"):
        add_working_days(date(2024, 1, 1), -1)


def test_another_notice_is_another_digest() -> None:
    same = Calendar(PUBLISHED.holidays, PUBLISHED.make_ups, PUBLISHED.published_until)
    more = Calendar((*PUBLISHED.holidays, date(2027, 1, 1)), PUBLISHED.make_ups, date(2027, 12, 31))
    assert same.digest == PUBLISHED.digest != more.digest
    assert more.add(date(2026, 12, 31), 1) == date(2027, 1, 4)
