"""Case events for property tests: few cases, few instants, so that events meet, tie and contradict each other."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from hypothesis import strategies as st

from shared.events import case

SOURCE = "urn:onething:province:test"
_START = datetime(2024, 9, 29, 15, 50, tzinfo=UTC)  # ten minutes before midnight in China

instants = st.integers(0, 12).map(lambda n: _START + timedelta(minutes=5 * n))
later_days = st.integers(-2, 3).map(lambda n: (_START + timedelta(days=n)).date().isoformat())


def text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


@st.composite
def event(draw: st.DrawFn, cases: int = 2) -> dict[str, Any]:
    """One event of one of ``cases`` cases, without an id (:func:`numbered` gives it)."""
    case_no = f"c{draw(st.integers(1, cases))}"
    operation = draw(st.sampled_from(["upsert"] * 6 + ["retract", "delete"]))
    data: dict[str, Any] = {
        "case_no": case_no,
        "operation": operation,
        "recorded_at": text(draw(instants)),
        "data_version": draw(st.sampled_from([1, 1, 1, 2])),
    }
    if operation != "delete":
        data["step"] = draw(st.sampled_from([step.value for step in case.Step]))
    if operation == "upsert":
        data["occurred_at"] = text(draw(instants))
    for name, values in {
        "county": st.sampled_from(["130607", "130635"]),
        "item": st.sampled_from(["disabled-service", "credit-repair"]),
        "channel": st.sampled_from([channel.value for channel in case.Channel]),
        "promised_on": later_days,
        "services": st.just(["water", "gas"]),
    }.items():
        if draw(st.booleans()):
            data[name] = draw(values)
    return {"specversion": "1.0", "source": SOURCE, "type": case.TYPE, "subject": case_no, "data": data}


def numbered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``events`` with an id each, so that no two contents share one."""
    return [{**e, "id": f"e{number}"} for number, e in enumerate(events)]


def events(most: int = 14, cases: int = 2) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(event(cases=cases), min_size=1, max_size=most).map(numbered)


@st.composite
def delivered(draw: st.DrawFn, most: int = 14, cases: int = 2) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Distinct events, and the same as they might arrive: some twice, in any order, cut into batches."""
    distinct = draw(events(most, cases))
    twice = draw(st.lists(st.sampled_from(distinct), max_size=6))
    shuffled = draw(st.permutations(distinct + twice))
    batches: list[list[dict[str, Any]]] = [[]]
    for one in shuffled:
        if draw(st.booleans()):
            batches.append([])
        batches[-1].append(one)
    return distinct, [batch for batch in batches if batch]


def encoded(one: dict[str, Any]) -> bytes:
    return orjson.dumps(one)
