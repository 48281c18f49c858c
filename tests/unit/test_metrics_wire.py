"""Reading a record of ``case-events`` in the common way and in the exact one: the same event, or the same refusal."""

from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.metrics.domain import wire
from services.metrics.domain.wire import CaseRecord, Unreadable, read_case, read_case_exactly
from shared import counties, items
from shared.events import case
from tests import case_events


def story(step: str) -> dict[str, Any]:
    data = {
        "case_no": "c1", "item": "disabled-service", "county": "130607", "step": step, "occurred_at": "2024-09-02T01:00:00Z",
        "recorded_at": "2024-09-02T01:00:05Z", "data_version": 1, "operation": "upsert", "channel": "web",
        "promised_on": "2024-10-01",
    }  # fmt: skip
    return {
        "specversion": "1.0", "id": "c1-1", "source": case_events.SOURCE, "type": case.TYPE, "subject": "c1", "traceparent": "00-1",
        "data": data,
    }  # fmt: skip


COMMON = story("applied")
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.text()
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
INSTANTS = st.sampled_from(
    [
        "2024-09-30T01:20:00Z", "2024-09-30T09:20:00.000001+08:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
        "1899-12-31T23:59:59Z", "2024-02-30T00:00:00Z", "2024-09-30", "2024-09-30T01:20:00", "20240930T012000Z",
    ]
)  # fmt: skip
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "case_no": st.sampled_from(["c1", "x" * 64, "x" * 65, "a b", "a\n", "", "é", "a\u001fb"]),
    "step": st.sampled_from([*(step.value for step in case.Step), "other"]),
    "operation": st.sampled_from(["upsert", "retract", "delete", "other"]),
    "county": st.sampled_from([*counties.BY_CODE, "130000", ""]),
    "item": st.sampled_from([*items.BY_CODE, "other"]),
    "channel": st.sampled_from([*(channel.value for channel in case.Channel), "other"]),
    "outcome": st.sampled_from(["granted", "denied", "other"]),
    "occurred_at": INSTANTS,
    "recorded_at": INSTANTS,
    "promised_on": st.sampled_from(["2024-10-01", "2024-02-30", "20241001", "2024-W40-1", "0000-01-01"]),
    "services": st.lists(st.sampled_from(["water", "gas"]), max_size=2),
    "data_version": st.sampled_from([1, 2, 0, -1, 2**31 - 1, 2**31, 2**63, 1.0, True, "1"]),
}


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """A common event of which some is changed, left out, or anything else."""
    event = COMMON | {"data": dict(COMMON["data"])}
    for name in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True)):
        event["data"][name] = draw(st.one_of(FIELDS[name], FIELDS[name], st.none(), JSON))
    for name in draw(st.lists(st.sampled_from(sorted(COMMON["data"])), max_size=1)):
        event["data"].pop(name, None)
    for name in draw(st.lists(st.sampled_from(["id", "source", "type", "subject", "data", "more"]), max_size=1)):
        event[name] = draw(JSON)
    return event


def outcome(read: Any, value: bytes | None) -> CaseRecord | tuple[str, Any]:
    try:
        found: CaseRecord = read(value)
    except Unreadable as error:
        return str(error), error.verdict
    return found


@settings(max_examples=2_000, deadline=None)
@given(events(), st.booleans())
def test_both_ways_come_to_the_same(event: dict[str, Any], indented: bool) -> None:
    value = orjson.dumps(event, option=orjson.OPT_INDENT_2 if indented else None)
    assert outcome(read_case, value) == outcome(read_case_exactly, value)


@settings(max_examples=1_000, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 3), st.binary(max_size=3))
@example(0, 0, b" ")
def test_a_record_that_was_damaged_is_read_alike(at: int, gone: int, instead: bytes) -> None:
    whole = orjson.dumps(COMMON)
    at %= len(whole) + 1
    value = whole[:at] + instead + whole[at + gone :]
    assert outcome(read_case, value) == outcome(read_case_exactly, value)


@pytest.mark.parametrize("value", [None, b"", b"null", b"[]", b'{"data": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_event_is_refused_alike(value: bytes | None) -> None:
    assert outcome(read_case, value) == outcome(read_case_exactly, value)
    with pytest.raises(Unreadable):
        read_case(value)


@pytest.mark.parametrize("step", [step.value for step in case.Step])
def test_the_common_event_goes_the_common_way(step: str) -> None:
    value = case_events.encoded(story(step))
    assert wire._read_common(value) == read_case_exactly(value)
