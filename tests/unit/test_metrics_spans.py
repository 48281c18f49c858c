"""A span of days is cut into whole months and the days around them: every day once, whatever the span."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.store.counters import whole_months

days = st.dates(date(2023, 12, 1), date(2024, 6, 30))


@given(days, days)
def test_each_day_of_a_span_is_counted_once(one: date, other: date) -> None:
    since, as_of = sorted((one, other))
    until, start = whole_months(since, as_of)
    months = {
        (day.year, day.month)
        for day in (date(2023, 1, 1) + timedelta(days=n) for n in range(900))
        if until < day.replace(day=1) < start
    }
    for n in range((as_of - since).days + 41):
        day = since - timedelta(days=20) + timedelta(days=n)
        by_day = since <= day <= until or start <= day <= as_of
        by_month = (day.year, day.month) in months
        assert by_day + by_month == (since <= day <= as_of), day


def test_years_are_read_by_months() -> None:
    assert whole_months(date(2020, 1, 15), date(2024, 9, 29)) == (date(2020, 1, 31), date(2024, 9, 1))
    assert whole_months(date(2020, 1, 1), date(2024, 9, 30)) == (date(2019, 12, 31), date(2024, 10, 1))
