"""What a company may push: each refusal with its reason and pointer, and what is published of an accepted event."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.utilities.domain.judging import SHOWN_FIELDS, judge, read, read_closely
from services.utilities.domain.registry import Pair, Registry
from services.utilities.domain.wire import read_quickly
from shared.verdicts import Accepted, Refusal, Rejected
from tests import utilities_oracle as oracle

NOW = datetime(2024, 9, 30, 4, tzinfo=UTC)
REGISTRY = Registry(frozenset({Pair("130607", "baoding-power", "power")}))


def _installation(**data: Any) -> dict[str, Any]:
    given = {"county": "130607", "service": "power", "step": "accepted", "occurred_at": "2024-09-29T08:00:00Z"} | data
    return oracle.installation("baoding-power", "AZ1", event_id="e1", recorded_at="2024-09-29T09:00:00Z") | {
        "data": {"installation_no": "AZ1", "company": "baoding-power", "recorded_at": "2024-09-29T09:00:00Z"} | given
    }


def _presence(**data: Any) -> dict[str, Any]:
    event = oracle.presence(
        "baoding-power", "130607", "power", event_id="e1", effective_on="2024-09-01", recorded_at="2024-09-29T09:00:00Z",
        level="own_window", handles=["public_service"],
    )  # fmt: skip
    return event | {"data": event["data"] | data}


def _window(**data: Any) -> dict[str, Any]:
    event = oracle.window(
        "baoding-power", "130607", "power", "2024-09", event_id="e1", recorded_at="2024-09-29T09:00:00Z", public_service_handled=0
    )
    return event | {"data": event["data"] | data}


def _judge(item: object) -> Accepted | Rejected:
    return judge(item, "baoding-power", REGISTRY, NOW)


def test_an_installation_is_published_normalised_under_its_number() -> None:
    verdict = _judge(_installation(county="130621002003", occurred_at="2024-09-29T16:00:00+08:00", colour="red"))
    assert isinstance(verdict, Accepted)
    assert (verdict.event_id, verdict.key, verdict.ignored) == ("e1", "AZ1", 1)
    data = orjson.loads(verdict.value)["data"]
    assert (data["county"], data["occurred_at"], "colour" in data) == ("130607", "2024-09-29T08:00:00Z", False)


def test_a_presence_is_published_under_its_normalised_subject() -> None:
    event = _presence(county="130621") | {"subject": "130621/baoding-power/power"}
    verdict = _judge(event)
    assert isinstance(verdict, Accepted)
    assert verdict.key == orjson.loads(verdict.value)["subject"] == "130607/baoding-power/power"


def test_what_is_published_is_read_again_as_it_was() -> None:
    verdict = _judge(_presence())
    assert isinstance(verdict, Accepted)
    event_id, body = read(verdict.value)
    assert (event_id, orjson.loads(msgspec.json.encode(body))) == ("e1", _presence()["data"])


def test_a_window_may_leave_to_its_subject_what_that_says() -> None:
    for data in (_window()["data"], {"public_service_handled": 0}):
        event = _window() | {"subject": "130621/baoding-power/power/2024-09", "time": "2024-09-29T09:00:00Z", "data": data}
        verdict = _judge(event)
        assert isinstance(verdict, Accepted)
        assert verdict.key == orjson.loads(verdict.value)["subject"] == "130607/baoding-power/power/2024-09"
        assert orjson.loads(verdict.value)["data"] == _window()["data"]


KINDS_OF_EVENTS = [
    _installation(),
    _installation(step="paused"),
    _installation(operation="delete", step=None),
    _presence(),
    _window(),
]
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", 0, 1, 1.0, True, "1", [], {}, "130607", "130621", "gas", "deleted", "paused", "retract", "delete", "2024-09",
     "2024-13", "2024-09-29", "2024-09-29T09:00:00Z", "2024-09-29T17:00:00+08:00", "2024-09-29T09:00:00.1234567Z",
     "2024-09-29t09:00:00z",
     "1066-10-14T09:00:00Z", "a\x7fb", "a\u0000b", "甲", "AZ1\n", ["public_service", "joint_installation"], ["public_service"] * 2]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(KINDS_OF_EVENTS), st.data())
def test_what_is_read_quickly_is_what_is_read_closely(event: dict[str, Any], draw: st.DataObject) -> None:
    names = sorted({*SHOWN_FIELDS, "reason", "evidence"})
    data = event["data"] | draw.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=2))
    around = draw.draw(st.dictionaries(st.sampled_from(["id", "source", "type", "subject"]), VALUES, max_size=1))
    value = orjson.dumps(event | {"data": data} | around)
    quickly = read_quickly(value)
    if quickly is not None:
        assert quickly == read_closely(value)


def test_what_is_in_normal_form_is_read_quickly() -> None:
    for event in KINDS_OF_EVENTS:
        verdict = _judge(event)
        assert isinstance(verdict, Accepted)
        assert read_quickly(verdict.value) == read_closely(verdict.value)


@pytest.mark.parametrize(
    ("item", "reason", "pointer"),
    [
        (_presence() | {"source": "urn:onething:company:china-mobile"}, "not-entitled", "/source"),
        (_presence(company="china-mobile"), "not-entitled", "/data/company"),
        # Another's event is another's, however wrong it is otherwise.
        (_presence(company="china-mobile", level="palace"), "not-entitled", "/data/company"),
        (_presence(service="heat") | {"subject": "130607/baoding-power/heat"}, "not-entitled", "/data/county"),
        (_installation(county="130608"), "not-entitled", "/data/county"),
        (_installation(county="999999"), "unknown-county", "/data/county"),
        (_installation(step="painted"), "invalid", "/data/step"),
        (_installation(step="paused", operation="retract", occurred_at=None), "invalid", "/data/occurred_at"),
        (_installation(occurred_at="2024-09-30T04:10:01Z"), "future", "/data/occurred_at"),
        (_installation(recorded_at="2024-09-30T04:10:01Z"), "future", "/data/recorded_at"),
        (_presence(effective_on="2024-10-01"), "future", "/data/effective_on"),
        (_installation() | {"subject": "AZ2"}, "invalid", "/subject"),
        (_presence() | {"subject": "130608/baoding-power/power"}, "invalid", "/subject"),
        (_presence() | {"subject": "baoding-power"}, "invalid", "/subject"),
        (_presence() | {"type": "cn.onething.case.step.v1"}, "invalid", "/type"),
        (_window(month="2024-10") | {"subject": "130607/baoding-power/power/2024-10"}, "future", "/data/month"),
        (_window(month="2024-13"), "invalid", "/data/month"),
        (_window(public_service_handled=-1), "invalid", "/data/public_service_handled"),
        (_window(public_service_handled=None), "invalid", "/data"),
        (_window(month="2024-08"), "invalid", "/subject"),
        (_window(service="heat") | {"subject": "130607/baoding-power/heat/2024-09"}, "not-entitled", "/data/county"),
        (
            _window()
            | {
                "subject": "130607/gas-1/power/2024-09",
                "data": {"public_service_handled": 1, "recorded_at": "2024-09-29T09:00:00Z"},
            },
            "not-entitled",
            "/subject",
        ),
        (_installation(occurred_at="1066-10-14T09:00:00Z"), "invalid", "/data/occurred_at"),
        ({**_presence(), "data": None}, "malformed", "/data"),
        ("an event", "malformed", ""),
    ],
)
def test_what_cannot_be_taken_says_where_and_why(item: object, reason: str, pointer: str) -> None:
    verdict = _judge(item)
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, [error.pointer for error in verdict.errors]) == (reason, [pointer])


@pytest.mark.parametrize("number", ["130602199001011234", "13060219900101123X", "13800138000", "138-0013-8000", "0312-5088888"])
def test_a_persons_number_in_free_text_reaches_no_topic(number: str) -> None:
    for event, name in ((_installation(), "reason"), (_presence(), "evidence")):
        verdict = _judge(event | {"data": event["data"] | {name: f"用户{number}不在"}})
        assert isinstance(verdict, Accepted)
        assert orjson.loads(verdict.value)["data"][name] == "用户«removed»不在"


def test_ten_minutes_ahead_is_still_taken() -> None:
    assert isinstance(_judge(_installation(occurred_at="2024-09-30T04:10:00Z")), Accepted)


def test_a_delete_needs_neither_step_nor_county() -> None:
    event = _installation(operation="delete", step=None, occurred_at=None, county=None, service=None)
    assert isinstance(_judge(event), Accepted)
    assert isinstance(judge(event, "baoding-power", Registry(frozenset()), NOW), Rejected)


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", orjson.dumps(_presence() | {"source": "urn:onething:company:other"})])
def test_a_record_that_is_none_of_ours_is_refused(value: bytes | None) -> None:
    with pytest.raises(Refusal):
        read(value)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("case_no", "130602199001011234", "personal-data"),
        ("case_source", "urn:130602199001011234", "personal-data"),
        ("case_source", "张三", "invalid"),
        ("case_source", "Zhang San", "invalid"),
    ],
)
def test_an_installation_names_its_case_by_codes_alone(field: str, value: str, reason: str) -> None:
    verdict = _judge(_installation(**{field: value}))
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, [error.pointer for error in verdict.errors]) == (reason, [f"/data/{field}"])
