"""Why figures moved: by example, and by property that arrivals and changes together are all that moved."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given

from services.metrics.domain.cases import EMPTY, MEASURES, CaseEvent, CaseState, Deltas, merge, view
from services.metrics.domain.journal import Moved
from services.metrics.domain.wire import read_case
from tests import case_events

HOUR = 3_600_000_000
NOON = 1_727_582_400_000_000  # 2024-09-29 12:00 in China
PLACED: dict[str, Any] = {"county": "130607", "item": "disabled-service"}


def event(hours: int, step: str | None = "applied", *, occurred: int | None = None, **more: Any) -> CaseEvent:
    """An event recorded so many hours after noon; it happened then too, or at ``occurred``."""
    at = NOON + hours * HOUR
    happened = at if occurred is None else NOON + occurred * HOUR
    return CaseEvent(at, f"e{hours}-{step}", **({"operation": "upsert", "step": step, "occurred_at": happened} | more))


def gone(hours: int, operation: str, step: str | None = None) -> CaseEvent:
    return event(hours, step, operation=operation, occurred_at=None)


def counted(*batches: CaseState) -> Moved:
    """What the last of a case's batches moves, after the others."""
    state, moved = EMPTY, Moved()
    for place, batch in enumerate(batches):
        old, state = state, merge(state, batch.version, batch.events)
        moved = Moved()
        replaced = place > 0 and old.version < state.version
        moved.take(1, "c1", view(old) if place else None, view(state), replaced=replaced)
    return moved


def batch(*events: CaseEvent, version: int = 1) -> CaseState:
    return merge(EMPTY, version, events)


def by_measure(deltas: Deltas) -> dict[str, int]:
    """By how much each measure moves over all days and counties, without those that do not."""
    sums: Counter[str] = Counter()
    for *_, moved in deltas.rows():
        sums.update(dict(zip(MEASURES, moved, strict=True)))
    return {measure: n for measure, n in sums.items() if n}


APPLIED = batch(event(0, **PLACED, channel="window"))
DONE = batch(event(48, "completed"))
SUPPLEMENTED = batch(event(0, "supplement_requested", **PLACED))
LATE = batch(event(48, "completed", promised_on="2024-01-01"))
PROMISED = batch(event(72, "accepted", promised_on="2024-12-01"))


@pytest.mark.parametrize(
    ("batches", "why", "changed", "arrived"),
    [
        ([APPLIED], None, {}, {"handled": 1, "applied": 1}),
        ([APPLIED, batch(event(24, "accepted"))], None, {}, {"accepted": 1}),
        # A step told late lies before all others: the first day moves, and nobody corrected anything.
        ([APPLIED, batch(event(24, "accepted", occurred=-48))], None, {}, {"accepted": 1}),
        ([APPLIED, batch(event(24, "supplement_requested"))], None, {}, {}),
        ([APPLIED, batch(event(24, "accepted", county="130635"))], "moved", {}, {"accepted": 1}),
        ([APPLIED, batch(event(24, "applied", occurred=24))], "corrected", {}, {}),
        ([APPLIED, batch(event(24, "accepted")), batch(gone(30, "retract", "accepted"))], "corrected", {"accepted": -1}, {}),
        ([APPLIED, batch(gone(30, "retract", "applied"))], "corrected", {"handled": -1, "applied": -1}, {}),
        # The first step was one that has no measure of its own.
        (
            [SUPPLEMENTED, batch(event(40)), batch(gone(50, "retract", "supplement_requested"))],
            "corrected", {}, {},
        ),
        ([APPLIED, batch(gone(30, "delete"))], "deleted", {"handled": -1, "applied": -1}, {}),
        (
            [APPLIED, batch(gone(30, "delete")), batch(event(40, "accepted"))],
            "restored", {"handled": 1, "applied": 1, "accepted": 1}, {},
        ),
        ([batch(event(0)), batch(event(24, "accepted", **PLACED))], None, {}, {"handled": 1, "applied": 1, "accepted": 1}),
        ([APPLIED, batch(event(24, channel="web"))], "corrected", {"online": 1}, {"accepted": 0}),
        ([batch(event(0, **PLACED)), batch(event(24, "accepted", channel="web"))], None, {}, {"accepted": 1, "online": 1}),
        ([APPLIED, batch(event(24, "completed", promised_on="2024-12-01"))], None, {}, {"completed": 1, "completed_on_time": 1}),
        ([APPLIED, DONE, PROMISED], None, {}, {"accepted": 1, "completed_on_time": 1}),
        ([APPLIED, LATE, PROMISED], "corrected", {"completed_on_time": 1}, {"accepted": 1}),
        # A version replaces the one before as a whole, all that it says included.
        (
            [APPLIED, DONE, batch(event(72, "accepted", **PLACED), version=2)],
            "corrected", {"applied": -1, "completed": -1, "accepted": 1}, {},
        ),
        ([APPLIED, batch(event(72, "accepted"), version=2)], "corrected", {"handled": -1, "applied": -1}, {}),
    ],
)  # fmt: skip
def test_why_a_figure_moved(batches: list[CaseState], why: str | None, changed: dict[str, int], arrived: dict[str, int]) -> None:
    moved = counted(*batches)
    assert [entry.why for entry in moved.entries] == ([why] if why else [])
    assert list(moved.changed) == [entry.why for entry in moved.entries]
    if why:
        assert by_measure(moved.changed[why]) == changed  # type: ignore[index]
    assert by_measure(moved.arrived) == {measure: n for measure, n in arrived.items() if n}


def cells(deltas: Deltas) -> Counter[tuple[str, str, int, str]]:
    found: Counter[tuple[str, str, int, str]] = Counter()
    for item, county, day, moved in deltas.rows():
        for measure, n in zip(MEASURES, moved, strict=True):
            found[item, county, day, measure] += n
    return found


def sum_of(*counters: Counter[Any]) -> Counter[Any]:
    """As a sum of two counters, which would leave negatives out."""
    added: Counter[Any] = Counter()
    for counter in counters:
        added.update(counter)
    return Counter({key: n for key, n in added.items() if n})


@given(delivery=case_events.delivered(most=10, cases=1))
def test_arrivals_and_the_journal_are_all_that_moved(delivery: tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]) -> None:
    state = EMPTY
    known = False
    for told in delivery[1]:
        moved, truth, journal = Moved(), Deltas(), Deltas()
        old = state
        for one in told:
            record = read_case(case_events.encoded(one))
            state = merge(state, record.version, (record.event,))
        moved.take(1, "c1", view(old) if known else None, view(state), replaced=known and old.version < state.version)
        known = True
        truth.move(view(old).contribution, view(state).contribution)
        for entry in moved.entries:
            assert entry.before != entry.after
            journal.move(entry.before, entry.after)
        assert sum_of(*map(cells, moved.changed.values())) == sum_of(cells(journal))
        assert sum_of(cells(moved.arrived), cells(journal)) == sum_of(cells(truth))
        # What arrives takes nothing from a unit: over the days of one measure it only adds.
        fallen = {
            key
            for (item, county, _, measure) in cells(moved.arrived)
            if sum(n for (i, c, _, m), n in cells(moved.arrived).items() if (i, c, m) == (item, county, measure)) < 0
            for key in [(item, county, measure)]
        }
        assert fallen == set()
