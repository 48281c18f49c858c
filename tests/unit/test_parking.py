"""What a parked record keeps, and that it keeps nobody's data."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.parking import HIDDEN, Digest, DigestKeyError, parked_event, redact
from shared.verdicts import FieldError, Rejected
from tests.intake_support import event

FIELDS = frozenset({"case_no", "county", "item", "step", "services"})
AT = datetime(2024, 9, 30, 1, 0, tzinfo=UTC)


def _park(item: object, raw: bytes = b"{}", **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "service": "intake",
        "origin": "t/0/1",
        "verdict": Rejected("e-1", "invalid", (FieldError(pointer="/data/step", message="say which"),)),
        "raw": raw,
        "item": item,
        "fields": FIELDS,
        "sender": "hebei-onething",
        "at": AT,
    }
    value: dict[str, Any] = orjson.loads(parked_event(**(arguments | changes)))
    return value


def test_a_parked_record_says_why_what_and_where_from() -> None:
    found = _park({"id": "e-1", "data": {"step": "gone", "applicant": {"name": "张三"}}}, b"abc")
    assert found["type"] == "cn.onething.parked.v1"
    assert found["subject"] == "t/0/1"
    assert found["time"] == "2024-09-30T01:00:00Z"
    assert re.fullmatch("hmac-sm3:[0-9a-f]{64}", found["data"].pop("digest"))
    assert found["data"] == {
        "service": "intake",
        "origin": "t/0/1",
        "reason": "invalid",
        "errors": [{"pointer": "/data/step", "message": "say which"}],
        "sender": "hebei-onething",
        "event_id": "e-1",
        "payload": {"id": "e-1", "data": {"step": "gone"}},
        "length": 3,
    }


def test_its_digest_is_keyed_as_openssl_makes_it_or_by_a_key_of_the_process(tmp_path: Path) -> None:
    key = tmp_path / "digest.key"
    key.write_bytes(b"0123456789abcdef0123456789abcdef\n")
    command = ["openssl", "dgst", "-sm3", "-hmac", "0123456789abcdef0123456789abcdef", "-hex"]
    made = subprocess.run(command, input=b"abc", capture_output=True, check=True).stdout.decode().rpartition(" ")[2].strip()
    assert _park([], b"abc", digest=Digest.of_file(key))["data"]["digest"] == f"hmac-sm3:{made}"
    own = Digest.of_file(None)
    assert own(b"abc") == own(b"abc") not in (own(b"abd"), Digest.of_file(None)(b"abc"), Digest.of_file(key)(b"abc"))
    key.write_bytes(b"short\n")
    for file, why in ((key, "has 5 bytes"), (tmp_path / "none", "No such file")):
        with pytest.raises(DigestKeyError, match=why):
            Digest.of_file(file)


def test_its_id_is_its_origins_so_that_a_retry_parks_once() -> None:
    first, again, other = _park({}), _park({"id": "x"}), _park({}, origin="t/0/2")
    assert first["id"] == again["id"] != other["id"]


def test_the_longest_origin_can_be_parked() -> None:
    origin = f"http/utilities/{'s' * 64}/{'m' * 128}/999"
    assert _park({}, origin=origin)["data"]["origin"] == origin


@pytest.mark.parametrize("item", [None, [], 1, "张三", [["张三"]]])
def test_what_is_no_object_is_digest_and_length_only(item: object) -> None:
    assert "payload" not in _park(item)["data"]


@pytest.mark.parametrize(
    "value",
    [
        "130602199001011234",
        "13060219900101123X",
        130602199001011234,
        1.30602199001011234e17,
        "130602900101123",
        "13800138000",
        13800138000,
        13800138000.0,
        "138-0013-8000",
        "0312-5881234",
        "张三",
        "𠮷田",
        "Zhang San",
        "保定市竞秀区1号",
        "x" * 257,
        {"name": "a"},
        [["a"]],
        [{"name": "a"}],
    ],
)
def test_a_value_that_may_be_a_persons_is_hidden_wherever_it_stands(value: object) -> None:
    hidden = [HIDDEN] if isinstance(value, list) else HIDDEN
    kept = redact({"subject": value, "data": {"county": value, "services": [value, "water"]}}, FIELDS)
    assert kept == {"subject": hidden, "data": {"county": hidden, "services": [HIDDEN, "water"]}}


PLAIN = ("BD2024090001", "130607", "urn:onething:province:hebei", "2024-09-30T09:00:00.000001+08:00", 2, None, True)


@pytest.mark.parametrize("value", PLAIN)
def test_codes_identifiers_and_times_are_kept(value: object) -> None:
    assert redact({"data": {"item": value}}, FIELDS) == {"data": {"item": value}}


def test_fields_that_the_model_does_not_name_are_left_out() -> None:
    assert redact(event(applicant={"name": "a"}, phone="1") | {"ext": "a"}, frozenset()) == redact(
        {name: value for name, value in event().items() if name != "data"} | {"data": {}}, frozenset()
    )


scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text())
"""As a JSON parser gives them: whole numbers beyond 64 bits become floats."""
anything = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)), max_leaves=20)


items = st.dictionaries(st.sampled_from(["id", "subject", "data", "x"]), anything)


@given(items, st.dictionaries(st.sampled_from([*FIELDS]), anything))
def test_whatever_the_item_it_can_be_parked(item: dict[str, Any], data: dict[str, Any]) -> None:
    for payload in (item, item | {"data": data}):
        kept = redact(payload, FIELDS)
        assert orjson.loads(orjson.dumps(kept)) == kept
        assert not [c for c in orjson.dumps(kept).decode() if not c.isascii() and c not in HIDDEN]
