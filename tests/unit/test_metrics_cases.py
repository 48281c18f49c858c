"""The merge of cases: any order, any repetition, any batching gives what the contract's words give."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given, settings

from services.metrics.domain.cases import (
    EMPTY,
    MEASURES,
    CaseEvent,
    CaseState,
    Deltas,
    day_of,
    dump_events,
    load_events,
    merge,
    view,
)
from services.metrics.domain.wire import read_case
from services.metrics.handlers.counting import fold
from shared.clock import business_day
from tests import case_events, oracle


def state_after(batches: list[list[dict[str, Any]]]) -> dict[tuple[str, str], CaseState]:
    """The states that the worker would hold after these batches."""
    states: dict[tuple[str, str], CaseState] = {}
    for batch in batches:
        folds = fold([read_case(case_events.encoded(e)) for e in batch])
        for key, folded in {(source, no): state for source, states in folds.items() for no, state in states.items()}.items():
            states[key] = merge(states.get(key, EMPTY), folded.version, folded.events)
    return states


def cells(states: dict[tuple[str, str], CaseState]) -> Counter[oracle.Cell]:
    found: Counter[oracle.Cell] = Counter()
    for state in states.values():
        contribution = view(state).contribution
        if contribution is not None:
            for measure, day in zip(MEASURES, contribution.days, strict=True):
                if day is not None:
                    on = date(1970, 1, 1) + timedelta(days=day)
                    found[contribution.item, contribution.county, on, measure] += 1
    return found


@given(case_events.delivered())
@settings(max_examples=1000)
def test_any_delivery_counts_as_the_contract_says(
    delivery: tuple[list[dict[str, Any]], list[list[dict[str, Any]]]],
) -> None:
    distinct, batches = delivery
    assert cells(state_after(batches)) == oracle.count(distinct)


@given(case_events.delivered())
@settings(max_examples=300)
def test_any_delivery_gives_the_very_same_state(delivery: tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]) -> None:
    distinct, batches = delivery
    assert state_after(batches) == state_after([distinct])


@given(case_events.events(most=10, cases=1))
def test_counters_moved_step_by_step_add_up_to_the_final_state(events: list[dict[str, Any]]) -> None:
    moved: Counter[tuple[str, str, int, str]] = Counter()
    state = EMPTY
    for event in events:
        record = read_case(case_events.encoded(event))
        after = merge(state, record.version, [record.event])
        deltas = Deltas()
        deltas.move(view(state).contribution, view(after).contribution)
        for item, county, day, change in deltas.rows():
            for measure, n in zip(MEASURES, change, strict=True):
                moved[item, county, day, measure] += n
        state = after
    final = Deltas()
    final.move(None, view(state).contribution)
    expected = {
        (item, county, day, measure): n
        for item, county, day, change in final.rows()
        for measure, n in zip(MEASURES, change, strict=True)
        if n
    }
    assert {cell: n for cell, n in moved.items() if n} == expected


@given(case_events.events(most=8, cases=1))
def test_the_kept_events_are_bounded_by_the_registers_and_survive_storage(events: list[dict[str, Any]]) -> None:
    (state,) = state_after([events]).values()
    assert len(state.events) <= 14  # eight steps, five attributes, the delete mark
    assert load_events(dump_events(state.events)) == state.events


def test_equal_id_and_time_with_other_content_is_decided_the_same_way_in_any_order() -> None:
    one = CaseEvent(1, "e", "upsert", "applied", 1_700_000_000_000_000, "130607", "credit-repair")
    two = one._replace(county="130635")
    three = one._replace(county="130602")
    results = set()
    for seed in range(20):
        order = [one, two, three]
        random.Random(seed).shuffle(order)
        state = EMPTY
        for event in order:
            state = merge(state, 1, [event])
        results.add(view(state).county)
    assert len(results) == 1


def test_ids_are_compared_by_bytes() -> None:
    lower = CaseEvent(1, "Z", "upsert", "applied", 1_700_000_000_000_000, "130607", "credit-repair")
    upper = lower._replace(id="a", county="130635")
    assert view(merge(EMPTY, 1, [upper, lower])).county == "130635"


def test_a_later_event_revives_a_deleted_case_with_the_steps_it_had() -> None:
    applied = CaseEvent(1, "a", "upsert", "applied", 1_700_000_000_000_000, "130607", "credit-repair")
    delete = CaseEvent(2, "b", "delete")
    again = CaseEvent(3, "c", "upsert", "accepted", 1_700_000_100_000_000)
    deleted = merge(EMPTY, 1, [applied, delete])
    assert view(deleted) == ("130607", "credit-repair", None, None, True, None)
    revived = view(merge(deleted, 1, [again])).contribution
    assert revived is not None
    assert revived.days[MEASURES.index("applied")] is not None


def test_a_delete_as_old_as_the_latest_event_deletes() -> None:
    applied = CaseEvent(2, "a", "upsert", "applied", 1_700_000_000_000_000, "130607", "credit-repair")
    assert view(merge(EMPTY, 1, [applied, CaseEvent(2, "a", "delete")])).deleted
    assert not view(merge(EMPTY, 1, [applied, CaseEvent(1, "z", "delete")])).deleted


def test_the_business_day_changes_at_midnight_in_china() -> None:
    before = datetime(2024, 9, 30, 15, 59, 59, 999_999, tzinfo=UTC)
    after = datetime(2024, 9, 30, 16, 0, tzinfo=UTC)
    summer_of_1988 = datetime(1988, 7, 1, 15, 30, tzinfo=UTC)  # China kept summer time then
    for instant in (before, after, summer_of_1988):
        micros = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        assert day_of(micros) == (business_day(instant) - date(1970, 1, 1)).days
