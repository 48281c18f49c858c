"""Units at zero, by example."""

from datetime import date

from services.metrics.domain.days_without import Handled, days_without

TODAY = date(2024, 9, 30)


def test_days_are_counted_from_the_last_case_or_from_the_items_first_in_the_city() -> None:
    handled = [
        Handled("disabled-service", "130607", date(2024, 9, 2), date(2024, 9, 29)),
        Handled("disabled-service", "130635", date(2024, 8, 31), date(2024, 9, 1)),
        Handled("newborn", "130607", date(2024, 9, 30), date(2024, 9, 30)),
    ]
    assert days_without(handled, ["130607", "130635", "130624"], TODAY) == {
        ("disabled-service", "130607"): 1,
        ("disabled-service", "130635"): 29,
        ("disabled-service", "130624"): 30,  # never had one; the city's first was on 31 August
        ("newborn", "130607"): 0,
        ("newborn", "130635"): 0,
        ("newborn", "130624"): 0,
    }


def test_an_item_without_any_case_says_nothing_and_days_to_come_are_today() -> None:
    assert days_without([], ["130607"], TODAY) == {}
    assert days_without([Handled("newborn", "130607", date(2024, 10, 1), date(2024, 10, 1))], ["130607"], TODAY) == {
        ("newborn", "130607"): 0
    }
