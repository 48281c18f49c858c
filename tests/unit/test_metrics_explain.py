"""A case's history explained: which event won which register, and why the others did not."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given

from deploy.local.case_table import Found, summary, table, verdict
from services.metrics.domain.cases import EMPTY, CaseEvent, merge, registers
from services.metrics.domain.explain import Logged, Loss, describe, explain
from services.metrics.domain.wire import read_case
from tests import case_events

HOUR = 3_600_000_000
ARRIVED = datetime(2024, 9, 30, tzinfo=UTC)


def applied(recorded_at: int, id: str = "e", **more: Any) -> CaseEvent:
    return CaseEvent(recorded_at * HOUR, id, "upsert", "applied", more.pop("occurred_at", 0), **more)


def test_an_event_wins_its_step_and_loses_an_attribute_to_a_later_one() -> None:
    first = CaseEvent(1 * HOUR, "a", "upsert", "applied", 0, county="130607", item="retirement")
    moved = CaseEvent(2 * HOUR, "b", "upsert", "accepted", HOUR, county="130635")
    told = explain([Logged(10, 1, first), Logged(14, 1, moved)])
    assert told.outcomes[0].won == ("step:applied", "item")
    assert told.outcomes[0].lost == (Loss("county", 14, "later"),)
    assert told.outcomes[1].won == ("step:accepted", "county")
    assert verdict(told.outcomes[0]) == "[green]生效:申报、事项[/green];[yellow]县(市、区)未生效:位移14登记更晚[/yellow]"
    assert summary(told) == "共2条事件,现为版本1:计入蠡县“退休”:办件 1970-01-01、申报 1970-01-01、受理 1970-01-01。"


def test_what_decides_between_equals_is_said() -> None:
    by_id = explain([Logged(1, 1, applied(5, "b")), Logged(2, 1, applied(5, "a"))])
    assert by_id.outcomes[1].lost == (Loss("step:applied", 1, "id"),)
    one, two = applied(5, occurred_at=1), applied(5, occurred_at=2)
    lesser, greater = sorted((one, two), key=CaseEvent.digest)
    by_digest = explain([Logged(1, 1, greater), Logged(2, 1, lesser)])
    assert by_digest.outcomes[1].lost == (Loss("step:applied", 1, "digest"),)


def test_repeats_and_outranked_versions_are_named() -> None:
    old, new = applied(9, "a"), applied(1, "b")
    told = explain([Logged(3, 1, old), Logged(4, 2, new), Logged(8, 1, old), Logged(9, 2, new)])
    assert [(o.repeats, o.outranked_by, o.won) for o in told.outcomes] == [
        (None, 2, ()), (None, None, ("step:applied",)), (3, None, ()), (4, None, ()),
    ]  # fmt: skip
    assert verdict(told.outcomes[0]) == "[dim]作废:已有更高版本2[/dim]"
    assert verdict(told.outcomes[2]) == "[dim]重复:与位移3相同[/dim]"


def test_summaries_of_cases_that_do_not_count() -> None:
    delete = CaseEvent(9 * HOUR, "z", "delete")
    assert summary(explain([Logged(1, 1, applied(1)), Logged(2, 1, delete)])).endswith("已删除,不计数。")
    assert summary(explain([Logged(1, 1, applied(1, county="130607"))])).endswith("尚无事项,暂不计数。")
    retract = CaseEvent(9 * HOUR, "z", "retract", "applied", county="130607", item="retirement")
    assert summary(explain([Logged(1, 1, applied(1)), Logged(2, 1, retract)])).endswith("没有有效环节,不计数。")
    assert summary(explain([])) == "没有可读的事件,该办件不计数。"


@given(delivery=case_events.delivered(cases=1))
def test_the_winners_are_those_of_counting_each_with_the_first_offset_that_brought_it(
    delivery: tuple[list[dict[str, Any]], list[list[dict[str, Any]]]],
) -> None:
    records = [read_case(case_events.encoded(event)) for batch in delivery[1] for event in batch]
    logged = [Logged(7 * n, record.version, record.event) for n, record in enumerate(records)]
    state = EMPTY
    for record in records:
        state = merge(state, record.version, [record.event])
    told = explain(logged)
    assert told.state == state
    won = {register: outcome.logged for outcome in told.outcomes for register in outcome.won}
    assert {name: one.event for name, one in won.items()} == registers(state.events)
    assert sum(len(outcome.won) for outcome in told.outcomes) == len(won), "no register has two winners"
    for outcome in told.outcomes:
        if outcome.repeats is not None:
            assert outcome.repeats < outcome.logged.offset
        for lost in outcome.lost:
            assert won[lost.register].offset == lost.offset
    shown = describe(state)["registers"]
    assert {name: register["event"]["id"] for name, register in shown.items()} == {n: o.event.id for n, o in won.items()}
    assert table(Found(logged, [], {one.offset: ARRIVED for one in logged}), told).row_count == len(logged)
