"""The quick way of reading an event and the exact one: the same verdict, and the same bytes, for whatever comes."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.intake.domain import Sender, quick
from services.intake.domain.judging import judge, judge_exactly
from shared import counties, items
from shared.events.case import CaseStep, Channel, Operation, Service, Step
from shared.verdicts import Accepted, Rejected
from tests.intake_support import SOURCE, Event, changed, event

NOW = datetime(2024, 9, 30, 1, 30, tzinfo=UTC)
PROVINCE = Sender("hebei-onething", SOURCE)
SOME_ITEMS = Sender("hebei-onething", SOURCE, items=frozenset({"credit-repair", "newborn"}))

COMMON: list[Event] = [
    event(),
    event(county="130621002003", promised_on="2024-10-20", channel="web", step="completed", outcome="granted", data_version=7),
    event(applicant={"name": "张三", "id_no": "130607199001011234", "phones": ["13800000000"]}, remark="x"),
    event(item="joint-installation", services=["water", "gas", "water"]),
    event(operation="retract", occurred_at=None, item=None, county=None),
    changed(event(recorded_at=None), time="2024-09-30T01:20:00.5Z", datacontenttype="text/plain", traceparent="00-1"),
    event(occurred_at="2024-02-29T23:59:59.123456789+23:59", recorded_at="0001-01-01t00:00:00z"),
]


@pytest.mark.parametrize("item", COMMON)
def test_what_is_common_is_read_in_the_quick_way_as_in_the_exact_one(item: Event) -> None:
    assert quick.read(item) is not None
    verdict = judge(item, PROVINCE, NOW)
    assert isinstance(verdict, Accepted)
    assert verdict == judge_exactly(item, PROVINCE, NOW)


def test_what_is_written_in_the_quick_way_has_every_field_and_no_other() -> None:
    assert quick.Data.__struct_fields__ == tuple(CaseStep.model_fields)


def _near(*good: str) -> st.SearchStrategy[str]:
    """One of ``good``, as it is or with something put in, taken out or changed."""

    def touched(text: str, at: int, length: int, other: str) -> str:
        at %= len(text) + 1
        return text[:at] + other + text[at + length :]

    others = st.sampled_from(
        ["", "0", "9", " ", "-", ":", "T", "t", "z", "Z", "+", ".", ",", "\n", "\x7f", "\x85", "·", "\\", '"', "０", "é"]
    )
    return st.one_of(
        st.sampled_from(good), st.builds(touched, st.sampled_from(good), st.integers(0, 40), st.integers(0, 2), others)
    )  # fmt: skip


scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text())
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4)),
    max_leaves=25,
)
instants = _near(
    "2024-09-30T09:00:00+08:00", "2024-09-30T01:20:00Z", "2024-09-30T09:40:00.000001+08:00", "2024-09-30t09:00:00.123456789z",
    "0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-08:00", "9999-12-31T23:59:59Z", "2024-02-30T09:00:00Z",
    "2024-09-30 09:00:00+08:00", "20240930T090000Z", "2024-09-30T24:00:00Z",
    "2024-09-30T09:00:60Z", "2024-09-30T09:00:00+0800", "2024-W40-1T09:00:00Z", "1727658000",
)  # fmt: skip
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "case_no": _near("BD1", "x" * 64, "13060720240930-1", "110101199003074514"),
    "item": _near(*items.BY_CODE),
    "county": _near(*counties.BY_CODE, "130621", "130607002", "130607002003", "130629"),
    "step": _near(*(step.value for step in Step)),
    "outcome": _near("granted", "denied"),
    "occurred_at": instants,
    "recorded_at": instants,
    "data_version": st.one_of(st.integers(-1, 3), st.sampled_from([2**31 - 1, 2**31, 1.0, True, "1"])),
    "operation": _near(*(operation.value for operation in Operation)),
    "channel": _near(*(channel.value for channel in Channel)),
    "promised_on": _near("2024-10-20", "2024-02-30", "20241020", "2024-10-20T00:00:00Z"),
    "services": st.lists(_near(*(service.value for service in Service)), max_size=9),
    "applicant": json_values,
    "remark": json_values,
}
ATTRIBUTES: dict[str, st.SearchStrategy[Any]] = {
    "specversion": _near("1.0"),
    "id": _near("e-1", "x" * 128, "13900001111", "110101199003074514"),
    "source": _near(SOURCE, "x" * 256),
    "type": _near("cn.onething.case.step.v1", "x" * 128),
    "subject": _near("BD1", "x" * 64),
    "time": instants,
    "datacontenttype": _near("application/json"),
    "extension": json_values,
}


def _some(known: dict[str, st.SearchStrategy[Any]], most: int) -> st.SearchStrategy[dict[str, Any]]:
    """Values for a few of ``known``: near to good, or anything; ``None`` is said, not left out."""
    names = st.lists(st.sampled_from(sorted(known)), max_size=most, unique=True)
    return names.flatmap(
        lambda chosen: st.fixed_dictionaries({name: st.one_of(known[name], known[name], json_values) for name in chosen})
    )


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(COMMON), _some(FIELDS, 3), _some(ATTRIBUTES, 2), st.sets(st.sampled_from([*FIELDS, *ATTRIBUTES]), max_size=2),
    st.sampled_from([PROVINCE, SOME_ITEMS, None]),
)  # fmt: skip
def test_both_ways_come_to_the_same(
    common: Event, fields: dict[str, Any], attributes: dict[str, Any], left_out: set[str], sender: Sender | None
) -> None:
    data = {name: value for name, value in (common["data"] | fields).items() if name not in left_out}
    item = {name: value for name, value in (common | attributes | {"data": data}).items() if name not in left_out}
    if "subject" not in attributes and isinstance(data.get("case_no"), str):
        item["subject"] = data["case_no"]
    assert judge(item, sender, NOW) == judge_exactly(item, sender, NOW)


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_both_ways_come_to_the_same_for_anything_at_all(item: Any) -> None:
    assert judge(item, PROVINCE, NOW) == judge_exactly(item, PROVINCE, NOW)
    assert judge(event() | {"data": item}, PROVINCE, NOW) == judge_exactly(event() | {"data": item}, PROVINCE, NOW)


@pytest.mark.parametrize("levels", [10, 13, 14, 15, 16, 300])
def test_both_ways_bound_the_depth_alike(levels: int) -> None:
    deep: Any = []
    for _ in range(levels):
        deep = [deep]
    item = event(applicant=deep)
    assert judge(item, PROVINCE, NOW) == judge_exactly(item, PROVINCE, NOW)
    again = judge(event(applicant=deep), PROVINCE, NOW)
    assert isinstance(again, Accepted) == (levels <= 13)


@pytest.mark.parametrize("recorded_at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_ends_of_the_calendar_are_judged_like_any_time(recorded_at: str) -> None:
    somebodys = event("110101199003074514", recorded_at=recorded_at)
    verdict = judge(somebodys, PROVINCE, NOW)
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict) == ("personal-data", judge_exactly(somebodys, PROVINCE, NOW))


def test_what_the_quick_way_writes_is_read_again_as_it_was() -> None:
    for item in COMMON:
        verdict = judge(item, PROVINCE, NOW)
        assert isinstance(verdict, Accepted)
        again = judge(orjson.loads(verdict.value), PROVINCE, NOW)
        assert isinstance(again, Accepted)
        assert again.value == verdict.value
