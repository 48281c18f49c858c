"""Signatures, against the public Standard Webhooks library on the other side."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from shared.signing import Key, Party, SignatureError, verify

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes of a test secret").decode()
OTHER = "whsec_" + base64.b64encode(b"another secret of thirty-two byte").decode()
AT = datetime(2024, 9, 30, 1, 0, tzinfo=UTC)
BODY = '{"名": "值"}'.encode()


def _headers(body: bytes = BODY, *, secret: str = SECRET, at: datetime = AT, message_id: str = "m-1") -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body.decode()),
    }


@given(st.text(), st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_what_the_public_library_signs_we_take(body: str, message_id: str) -> None:
    verify(Party((Key(SECRET),)), _headers(body.encode(), message_id=message_id), body.encode(), AT)


def test_what_we_sign_the_public_library_takes() -> None:
    stamp = int(datetime.now(UTC).timestamp())
    headers = {"webhook-id": "m-1", "webhook-timestamp": str(stamp), "webhook-signature": Key(SECRET).sign("m-1", stamp, BODY)}
    assert Webhook(SECRET).verify(BODY, headers) == json.loads(BODY)


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_timestamp_within_300_seconds_passes(seconds: int) -> None:
    verify(Party((Key(SECRET),)), _headers(), BODY, AT + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-301, 301, 86400])
def test_a_timestamp_over_300_seconds_away_is_stale(seconds: int) -> None:
    with pytest.raises(SignatureError, match="300 s"):
        verify(Party((Key(SECRET),)), _headers(), BODY, AT + timedelta(seconds=seconds))


@pytest.mark.parametrize("stamp", ["", "x", "1.5", "-1", "+1", " 1", "²", "1" * 13, "१"])
def test_a_timestamp_is_plain_digits(stamp: str) -> None:
    with pytest.raises(SignatureError, match="whole seconds"):
        verify(Party((Key(SECRET),)), _headers() | {"webhook-timestamp": stamp}, BODY, AT)


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_one_changed_byte_of_the_body_fits_no_more(place: int, change: int) -> None:
    body = bytearray(BODY)
    body[place] ^= change
    with pytest.raises(SignatureError, match="no signature fits"):
        verify(Party((Key(SECRET),)), _headers(), bytes(body), AT)


@pytest.mark.parametrize(("name", "value"), [("webhook-id", "m-2"), ("webhook-timestamp", str(int(AT.timestamp()) + 1))])
def test_id_and_timestamp_are_signed_too(name: str, value: str) -> None:
    with pytest.raises(SignatureError, match="no signature fits"):
        verify(Party((Key(SECRET),)), _headers() | {name: value}, BODY, AT)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed(missing: str) -> None:
    headers = _headers()
    del headers[missing]
    with pytest.raises(SignatureError):
        verify(Party((Key(SECRET),)), headers, BODY, AT)


def test_any_active_key_and_any_entry_may_fit() -> None:
    fitting = _headers()["webhook-signature"]
    several = _headers() | {"webhook-signature": f"v1a,xxxx v1,AAAA {fitting} v2,{fitting[3:]}"}
    verify(Party((Key(OTHER), Key(SECRET))), several, BODY, AT)
    with pytest.raises(SignatureError, match="no signature fits"):
        verify(Party((Key(OTHER),)), several, BODY, AT)


@pytest.mark.parametrize("version", ["v2", "v1a", "V1"])
def test_only_the_scheme_v1_counts(version: str) -> None:
    headers = _headers()
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", f"{version},")
    with pytest.raises(SignatureError, match="missing"):
        verify(Party((Key(SECRET),)), headers, BODY, AT)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_not base64!",
        SECRET.removeprefix("whsec_"),
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
    ],
)
def test_a_secret_of_another_form_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ followed by") as caught:
        Key(secret)
    assert len(secret) < 8 or secret not in str(caught.value)


def test_no_log_can_show_a_key() -> None:
    assert SECRET[6:] not in f"{Key(SECRET)!r} {Key(SECRET)} {[Key(SECRET)]}"
