"""The judgement of one pushed case event."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intake.domain import Sender, judge, sender_of
from shared.events import case
from shared.events.case import CaseStep
from shared.verdicts import MOST_ERRORS, Accepted, Rejected
from tests.intake_support import SOURCE, Event, changed, event

NOW = datetime(2024, 9, 30, 1, 30, tzinfo=UTC)
PROVINCE = Sender("hebei-onething", SOURCE)


def _published(item: object) -> Event:
    verdict = judge(item, PROVINCE, NOW)
    assert isinstance(verdict, Accepted), verdict
    value: Event = orjson.loads(verdict.value)
    return value


def _refused(item: object, sender: Sender | None = PROVINCE) -> tuple[str, list[str]]:
    verdict = judge(item, sender, NOW)
    assert isinstance(verdict, Rejected), verdict
    return verdict.reason, [error.pointer for error in verdict.errors]


def test_a_good_event_is_published_normalised_and_keyed_by_its_case() -> None:
    item = event(
        county="130621002003", promised_on="2024-10-20", channel="web", data_version=2, services=["water", "gas", "water"],
        applicant={"name": "张三"}, remark="x", step="completed", outcome="granted",
    )  # fmt: skip
    verdict = judge(changed(item, time="2024-09-30T09:20:00+08:00", traceparent="00-1"), PROVINCE, NOW)
    assert isinstance(verdict, Accepted)
    assert (verdict.event_id, verdict.key, verdict.ignored) == ("e-1", "BD1", 1)
    assert orjson.loads(verdict.value) == {
        "specversion": "1.0",
        "id": "e-1",
        "source": SOURCE,
        "type": case.TYPE,
        "subject": "BD1",
        "time": "2024-09-30T01:20:00Z",
        "datacontenttype": "application/json",
        "data": {
            "case_no": "BD1",
            "item": "disabled-service",
            "county": "130607",
            "step": "completed",
            "outcome": "granted",
            "occurred_at": "2024-09-30T01:00:00Z",
            "recorded_at": "2024-09-30T01:00:01.000002Z",
            "data_version": 2,
            "operation": "upsert",
            "channel": "web",
            "promised_on": "2024-10-20",
            "services": ["gas", "water"],
        },
    }


def test_what_is_not_said_is_not_published() -> None:
    assert _published(event(item=None, county=None) | {"ext": 1})["data"].keys() == {
        "case_no", "step", "occurred_at", "recorded_at", "data_version", "operation",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given_as", "published"),
    [
        ("2024-09-30T09:00:00+08:00", "2024-09-30T01:00:00Z"),
        ("2024-09-29T20:00:00-05:00", "2024-09-30T01:00:00Z"),
        ("2024-09-30T01:00:00z", "2024-09-30T01:00:00Z"),
        ("2024-09-30t01:00:00-00:00", "2024-09-30T01:00:00Z"),
        ("2024-09-30T09:00:00.000001+08:00", "2024-09-30T01:00:00.000001Z"),
        ("2024-09-30T09:00:00.123456789+08:00", "2024-09-30T01:00:00.123456Z"),
        ("2024-02-29T23:59:59.9+23:59", "2024-02-29T00:00:59.900000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_any_offset_is_published_as_utc_to_the_microsecond(given_as: str, published: str) -> None:
    assert _published(event(occurred_at=given_as))["data"]["occurred_at"] == published


@pytest.mark.parametrize(
    "value",
    [
        1727658000,
        1727658000.5,
        True,
        [],
        {},
        "",
        "1727658000",
        "2024-09-30",
        "2024-09-30 09:00:00+08:00",
        "2024-09-30T09:00:00",
        "2024-09-30T09:00+08:00",
        "2024-09-30T09:00:00+08",
        "2024-09-30T09:00:00+0800",
        "2024-09-30T09:00:00 +08:00",
        "2024-09-30T09:00:60Z",
        "2024-09-30T24:00:00Z",
        "2024-02-30T09:00:00Z",
        "2024-09-30T09:00:00+24:00",
        "0001-01-01T00:00:00+08:00",
        "9999-12-31T23:59:59-08:00",
        "２０２４-09-30T09:00:00Z",
        "20240930T090000Z",
    ],
)
def test_a_time_of_another_form_is_refused_at_its_place(value: object) -> None:
    assert _refused(event(occurred_at=value)) == ("invalid", ["/data/occurred_at"])
    assert _refused(event(recorded_at=value)) == ("invalid", ["/data/recorded_at"])
    assert _refused(changed(event(), time=value)) == ("malformed", ["/time"])


@pytest.mark.parametrize(
    "value", [20240930, 0, "2024-09-30T00:00:00Z", "2024-9-30", "20240930", "2024-02-30", "２０２４-09-30", [], True]
)
def test_a_day_of_another_form_is_refused_at_its_place(value: object) -> None:
    assert _refused(event(promised_on=value)) == ("invalid", ["/data/promised_on"])


def test_an_absent_recorded_at_is_the_events_time() -> None:
    item = changed(event(recorded_at=None), time="2024-09-30T09:05:00.5+08:00")
    assert _published(item)["data"]["recorded_at"] == "2024-09-30T01:05:00.500000Z"


def test_neither_recorded_at_nor_time_is_refused() -> None:
    assert _refused(event(recorded_at=None)) == ("invalid", ["/data/recorded_at"])


@pytest.mark.parametrize("name", ["occurred_at", "recorded_at"])
def test_ten_minutes_ahead_pass_and_a_microsecond_more_does_not(name: str) -> None:
    assert _published(event(**{name: "2024-09-30T09:40:00+08:00"}))
    assert _refused(event(**{name: "2024-09-30T09:40:00.000001+08:00"})) == ("future", [f"/data/{name}"])


def test_a_future_time_that_stands_in_for_recorded_at_is_named_where_it_stands() -> None:
    assert _refused(changed(event(recorded_at=None), time="2024-09-30T09:41:00+08:00")) == ("future", ["/time"])


def test_both_future_times_are_named() -> None:
    assert _refused(event(occurred_at="2030-01-01T00:00:00Z", recorded_at="2030-01-01T00:00:00Z")) == (
        "future", ["/data/occurred_at", "/data/recorded_at"],
    )  # fmt: skip


@pytest.mark.parametrize("item", [None, [], "x", 1, 1.5, True, [event()]])
def test_an_event_is_an_object(item: object) -> None:
    verdict = judge(item, PROVINCE, NOW)
    assert isinstance(verdict, Rejected)
    assert (verdict.event_id, verdict.reason, verdict.errors[0].pointer) == (None, "malformed", "")


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject"])
@pytest.mark.parametrize("value", [None, 1, "", [], {}])
def test_each_context_attribute_is_a_string_and_needed(name: str, value: object) -> None:
    assert _refused(changed(event(), **{name: value})) == ("malformed", [f"/{name}"])


@pytest.mark.parametrize("event_id", ["a b", "a/b", "名", "x" * 129])
def test_an_id_has_the_contracts_form(event_id: str) -> None:
    assert _refused(event(event_id)) == ("malformed", ["/id"])


@pytest.mark.parametrize("case_no", ["a b", "a/b", "号", "x" * 65])
def test_a_case_number_has_the_contracts_form(case_no: str) -> None:
    assert _refused(event("e-1", case_no)) == ("invalid", ["/data/case_no"])


@pytest.mark.parametrize(("event_id", "case_no"), [("x" * 128, "x" * 64), ("A.b_c-9", "A.b_c-9")])
def test_the_longest_and_oddest_identifiers_pass(event_id: str, case_no: str) -> None:
    assert _published(event(event_id, case_no))["subject"] == case_no


def test_the_subject_is_the_case_number() -> None:
    assert _refused(changed(event(), subject="BD2")) == ("invalid", ["/subject"])


def test_another_type_is_refused() -> None:
    assert _refused(changed(event(), type="cn.onething.presence.v1")) == ("invalid", ["/type"])


@pytest.mark.parametrize("data", [None, [], "x", 1])
def test_data_is_an_object(data: object) -> None:
    assert _refused(changed(event(), data=data)) == ("malformed", ["/data"])


def test_another_source_is_not_the_senders_to_send_whatever_else_is_wrong() -> None:
    other = changed(event(county="1"), source="urn:onething:province:shanxi", type="x")
    assert _refused(other) == ("not-entitled", ["/source"])
    assert _refused(event(), None) == ("not-entitled", ["/source"])


def test_who_sent_a_record_is_told_by_its_source() -> None:
    other = Sender("shanxi", "urn:onething:province:shanxi")
    assert sender_of(event(), [other, PROVINCE]) is PROVINCE
    # A sandbox that bears the province's source does not stand for it over Kafka, where nobody signs.
    assert sender_of(event(), [Sender("try", SOURCE, sandbox=True), PROVINCE]) is PROVINCE
    assert sender_of(event(), [Sender("try", SOURCE, sandbox=True)]) is None
    others: list[Any] = [changed(event(), source="urn:x"), changed(event(), source=None), changed(event(), source=[]), None, [], 1]
    for item in others:
        assert sender_of(item, [other, PROVINCE]) is None


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("county", "130102", "unknown-county"),
        ("county", "130629", "unknown-county"),
        ("county", "1306", "unknown-county"),
        ("county", 130607, "invalid"),
        ("item", "tea-drinking", "unknown-item"),
        ("item", "残疾人服务", "unknown-item"),
        ("item", 1, "invalid"),
        ("case_no", 1, "invalid"),
        ("step", "gone", "invalid"),
        ("step", 1, "invalid"),
        ("outcome", "granted", "invalid"),
        ("operation", "drop", "invalid"),
        ("channel", "fax", "invalid"),
        ("data_version", 0, "invalid"),
        ("data_version", 2**31, "invalid"),
        ("data_version", 1e30, "invalid"),
        ("data_version", 1.0, "invalid"),
        ("data_version", "1", "invalid"),
        ("data_version", True, "invalid"),
        ("services", "water", "invalid"),
        ("services", {"water": 1}, "invalid"),
    ],
)
def test_a_wrong_field_is_refused_at_its_place(field: str, value: object, reason: str) -> None:
    found, pointers = _refused(event(**{field: value}))
    # An outcome is wrong together with the step.
    assert (found, pointers) == (reason, ["/data"] if field == "outcome" else [f"/data/{field}"])


def test_a_wrong_service_is_named_by_its_place_in_the_list() -> None:
    assert _refused(event(services=["water", "tea"])) == ("invalid", ["/data/services/1"])


def test_every_wrong_field_is_named_and_the_reason_is_the_most_telling() -> None:
    reason, pointers = _refused(event(county="1", step="x", channel="y"))
    assert (reason, sorted(pointers)) == ("unknown-county", ["/data/channel", "/data/county", "/data/step"])


@pytest.mark.parametrize("missing", ["step", "occurred_at"])
def test_an_upsert_says_what_happened_and_when(missing: str) -> None:
    assert _refused(event(**{missing: None})) == ("invalid", ["/data"])


def test_a_retract_needs_a_step_but_no_time() -> None:
    assert "occurred_at" not in _published(event(operation="retract", occurred_at=None))["data"]
    assert _refused(event(operation="retract", step=None)) == ("invalid", ["/data"])


@pytest.mark.parametrize("step", ["applied", "no such step", None, 7])
def test_a_delete_ignores_the_step(step: object) -> None:
    data = _published(event(operation="delete", step=step, outcome="granted", occurred_at=None))["data"]
    assert data["operation"] == "delete"
    assert not {"step", "outcome"} & data.keys()


@pytest.mark.parametrize("character", ["\x00", "\n", "\x1f", "\x7f", "\x85", "\x9f"])
@pytest.mark.parametrize(
    ("place", "pointer"),
    [
        (lambda c: changed(event(), subject=f"BD1{c}"), "/subject"),
        (lambda c: event(county=f"130607{c}"), "/data/county"),
        (lambda c: event(services=["water", f"gas{c}"]), "/data/services"),
        (lambda c: event(applicant={"name": f"张{c}三"}), "/data/applicant"),
        (lambda c: event(applicant={"张三": [c]}), "/data/applicant"),
        (lambda c: event(**{"x\n": c}), "/data"),
        (lambda c: event(张三=c), "/data"),
        (lambda c: event() | {f"ext{c}": 1}, ""),
    ],
)
def test_a_control_character_anywhere_is_refused_where_it_stands(character: str, place: Any, pointer: str) -> None:
    reason, pointers = _refused(place(character))
    assert (reason, set(pointers)) == ("malformed", {pointer})


def test_nesting_without_end_is_refused() -> None:
    deep: Any = []
    for _ in range(1000):
        deep = [deep]
    assert _refused(event(applicant=deep)) == ("malformed", ["/data/applicant"])


def test_the_list_of_errors_has_an_end() -> None:
    assert len(_refused(event(applicant=["\x00"] * 5000))[1]) == MOST_ERRORS
    assert len(_refused(event(services=["x"] * 5000))[1]) <= MOST_ERRORS


def test_fields_that_nobody_knows_are_counted_and_people_are_not() -> None:
    verdict = judge(event(applicant={"name": "x"}, sn="1", remark=None, extra={"a": 1}), PROVINCE, NOW)
    assert isinstance(verdict, Accepted)
    assert verdict.ignored == 2


scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text())


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4))


json_values = st.recursive(scalars, _containers, max_leaves=15)
odd_or_good = st.one_of(json_values, st.sampled_from(["130607", "applied", "delete", "2024-09-30T09:00:00Z"]))
good_or_odd_fields = st.fixed_dictionaries({}, optional=dict.fromkeys(CaseStep.model_fields, odd_or_good))
good_or_odd_attributes = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("specversion", "id", "source", "type", "subject", "time", "data", "x"), json_values)
)


@given(json_values)
def test_judging_never_raises_for_any_json_value(item: object) -> None:
    assert isinstance(judge(item, PROVINCE, NOW), Rejected)


@given(good_or_odd_attributes, good_or_odd_fields)
def test_judging_never_raises_and_what_it_accepts_is_normal(attributes: dict[str, Any], fields: dict[str, Any]) -> None:
    verdict = judge(event() | {"data": event()["data"] | fields} | attributes, PROVINCE, NOW)
    if isinstance(verdict, Accepted):
        again = judge(orjson.loads(verdict.value), PROVINCE, NOW)
        assert isinstance(again, Accepted)
        assert again.value == verdict.value
        assert again.ignored == 0
    else:
        assert verdict.errors


IDENTITY = "130602199001011234"


@pytest.mark.parametrize(
    ("given", "pointers"),
    [
        (event("e-1", IDENTITY), ["/subject"]),
        (event(f"e-{IDENTITY}", "BD1"), ["/id"]),
        (event("13800138000", f"X{IDENTITY}"), ["/id", "/subject"]),
    ],
)
def test_what_names_a_case_or_an_event_may_name_nobody(given: Event, pointers: list[str]) -> None:
    verdict = judge(given, PROVINCE, NOW)
    assert isinstance(verdict, Rejected)
    assert verdict.reason == "personal-data"
    assert [error.pointer for error in verdict.errors] == pointers
    assert verdict.event_id in (None, "e-1")
    assert IDENTITY not in str(verdict)
