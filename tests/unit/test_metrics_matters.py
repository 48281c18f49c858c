"""What counts of a snapshot as of any day: held to the oracle day by day, and by example where the calendar matters."""

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.metrics.domain import installations, matters
from services.metrics.domain.matters import Matter, Span, of_installation, working_days
from shared.events.progress import InstallationState, Pause, Snapshot
from tests import reading_oracle, utilities_oracle
from tests.utilities_support import PAIRS

DAY = timedelta(days=1)


def days(first: str, last: str) -> list[date]:
    begin = date.fromisoformat(first)
    return [begin + DAY * n for n in range((date.fromisoformat(last) - begin).days + 1)]


def covers(spans: Any, day: date) -> bool:
    return any(begin <= day and (end is None or day < end) for begin, end in spans)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
@example(0)
def test_every_day_of_any_installation_is_what_the_oracle_finds(seed: int) -> None:
    told = utilities_oracle.told(utilities_oracle.season(seed, PAIRS[:2], installations=6))
    for (kind, _), state in told.items():
        if kind != "installation" or state is None:
            continue
        matter = of_installation(state)
        assert matter.working_days == reading_oracle.working_days(state)
        assert matter.moved_on == sorted(reading_oracle.moved_on(state))
        model = InstallationState.model_validate(state)
        for day in days("2024-02-25", "2024-11-30"):
            opened = matter.opened_on is not None and matter.opened_on <= day
            standing = installations.status(matter.done_on, matter.dropped_on, day, paused=False)
            found = {
                "opened": opened,
                "connected": opened and standing == "connected",
                "cancelled": opened and standing == "cancelled",
                "in_progress": opened and standing == "in_progress",
                "due_soon": covers(matter.due_soon, day),
                "overdue": covers(matter.overdue, day),
            }
            assert found == {name: reading_oracle.is_a(name, state, day) for name in reading_oracle.NUMBERS}, (day, state)
            assert (found["overdue"], found["due_soon"]) == (model.overdue_on(day), model.due_soon_on(day))
            due = installations.due(model, day)
            assert not found["overdue"] or (due is not None and due["due_on"] < day)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.none() | st.integers(0, 30))),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))),
)
def test_spans_are_sets_of_days(one: list[tuple[int, int | None]], other: list[tuple[int, int]]) -> None:
    start = date(2024, 1, 1)

    def spans(numbers: Any) -> list[Span]:
        return [(start + DAY * a, None if b is None else start + DAY * b) for a, b in numbers]

    joined, taken = matters._spans(spans(one)), matters._spans(spans(other))
    left = matters._without(joined, taken)
    for result in (joined, taken, left):
        assert all(end is None or begin < end for begin, end in result)
        assert all(end is not None and end < begin for (_, end), (begin, _) in pairwise(result))
    for day in (start + DAY * n for n in range(35)):
        assert covers(joined, day) == covers(spans(one), day)
        assert covers(left, day) == (covers(joined, day) and not covers(taken, day))


@pytest.mark.parametrize(
    ("start", "end", "pauses", "number"),
    [
        ("2024-09-27", "2024-10-08", [], 3),  # the 29th and 30th, then National Day until the 7th
        ("2024-09-27", "2024-10-12", [], 7),  # with the make-up Saturday
        ("2024-09-27", "2024-10-08", [("2024-09-30", "2024-10-08")], 2),  # stood still from the 30th over the holiday
        ("2025-01-24", "2025-02-08", [], 6),  # Spring Festival, between two make-up days
        ("2024-09-30", "2024-09-30", [], 0),
        ("2024-09-30", "2024-09-29", [], None),  # connected before it was accepted
        ("2024-09-30", None, [], None),
    ],
)
def test_working_days_from_acceptance_to_connection(
    start: str, end: str | None, pauses: list[tuple[str, str]], number: int | None
) -> None:
    told = [Pause.model_validate({"from_on": begin, "to_on": until}) for begin, until in pauses]
    assert working_days(date.fromisoformat(start), end and date.fromisoformat(end), told) == number  # type: ignore[arg-type]


def test_what_is_deleted_counts_for_nothing_and_other_kinds_are_not_followed() -> None:
    assert matters.of_snapshot(Snapshot(kind="installation", subject="w/1", version=1, deleted=True)) == Matter()
    assert matters.of_snapshot(Snapshot(kind="presence", subject="1/w/water", version=1)) is None
    with pytest.raises(ValueError, match="installation_no"):
        matters.of_snapshot(Snapshot(kind="installation", subject="w/1", version=1))


@given(st.dictionaries(st.integers(0, 40), st.integers(1, 5)))
def test_the_median_is_that_of_the_whole_list(histogram: dict[int, int]) -> None:
    every = sorted(value for value, number in histogram.items() for _ in range(number))
    found = installations.median(histogram)
    if not every:
        assert found is None
    else:
        middle = every[(len(every) - 1) // 2 : len(every) // 2 + 1]
        assert found == sum(middle) / len(middle)
