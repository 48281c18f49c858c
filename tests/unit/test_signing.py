"""Signatures, against the public Standard Webhooks library on the other side."""

import base64
import hashlib
import hmac
import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from shared.signing import Key, Party, SignatureError, verify
from shared.signing.keys import resolved

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


# HMAC-SM3, the data channel, keys from elsewhere


def _sm3_by_openssl(secret: str, message: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_")).hex()
    command = ["openssl", "dgst", "-sm3", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    digest = subprocess.run(command, input=message, capture_output=True, check=True).stdout
    return "v1sm3," + base64.b64encode(digest).decode()


def test_what_openssl_signs_by_hmac_sm3_we_take_and_make_alike() -> None:
    stamp = str(int(AT.timestamp()))
    entry = _sm3_by_openssl(SECRET, b".".join((b"m-1", stamp.encode(), BODY)))
    assert Key(SECRET).sign("m-1", int(stamp), BODY, "v1sm3") == entry
    headers = {"webhook-id": "m-1", "webhook-timestamp": stamp, "webhook-signature": entry}
    verify(Party((Key(OTHER), Key(SECRET))), headers, BODY, AT)
    with pytest.raises(SignatureError, match="no signature fits"):
        verify(Party((Key(SECRET),)), headers, BODY + b"\n", AT)


def test_a_digest_under_the_other_algorithms_name_does_not_fit() -> None:
    key, stamp = Key(SECRET), int(AT.timestamp())
    for ours, theirs in (("v1", "v1sm3"), ("v1sm3", "v1")):
        entry = key.sign("m-1", stamp, BODY, ours).replace(f"{ours},", f"{theirs},")
        with pytest.raises(SignatureError, match="no signature fits"):
            verify(Party((key,)), _headers() | {"webhook-signature": entry}, BODY, AT)


def test_either_algorithm_beside_the_other_is_enough() -> None:
    key, stamp = Key(SECRET), int(AT.timestamp())
    for good, bad in (("v1", "v1sm3"), ("v1sm3", "v1")):
        entries = f"{bad},{'A' * 43}= {key.sign('m-1', stamp, BODY, good)}"
        verify(Party((key,)), _headers() | {"webhook-signature": entries}, BODY, AT)


def test_entries_beyond_the_bound_are_not_looked_at() -> None:
    fitting = _headers()["webhook-signature"]
    verify(Party((Key(SECRET),)), _headers() | {"webhook-signature": "v1,x " * 15 + fitting}, BODY, AT)
    with pytest.raises(SignatureError, match="no signature fits"):
        verify(Party((Key(SECRET),)), _headers() | {"webhook-signature": "v1,x " * 16 + fitting}, BODY, AT)


CHANNEL_SECRET = "the-channels-own-secret"
CHANNEL_PARTY = Party((Key.of_text("another-channel-secret"), Key.of_text(CHANNEL_SECRET)), "gjzwfwpt")


def _channel(**changes: str) -> dict[str, str]:
    """Signed as DOMAIN §4 describes the channel, written out by hand."""
    headers = {"gjzwfwpt_rid": "r-1", "gjzwfwpt_sid": "s1", "gjzwfwpt_rtime": str(int(AT.timestamp() * 1000))}
    text = headers["gjzwfwpt_sid"] + headers["gjzwfwpt_rid"] + headers["gjzwfwpt_rtime"]
    digest = hmac.new(CHANNEL_SECRET.encode(), text.encode(), hashlib.sha256).digest()
    return headers | {"gjzwfwpt_sign": base64.b64encode(digest).decode()} | changes


@pytest.mark.parametrize("milliseconds", [-300_000, 0, 300_000])
def test_the_channels_headers_prove_the_sender_whatever_the_body(milliseconds: int) -> None:
    verify(CHANNEL_PARTY, _channel(), BODY, AT + timedelta(milliseconds=milliseconds))
    verify(CHANNEL_PARTY, _channel(), b"another", AT)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gjzwfwpt_rid": "r-2"}, "no signature fits"),
        ({"gjzwfwpt_sid": "s2"}, "no signature fits"),
        ({"gjzwfwpt_rtime": "1727658000001"}, "no signature fits"),
        ({"gjzwfwpt_rid": "r-11", "gjzwfwpt_rtime": "727658000000"}, "milliseconds"),  # the same text, divided elsewhere
        ({"gjzwfwpt_rid": "r-", "gjzwfwpt_rtime": "11727658000000"}, "milliseconds"),
        ({"gjzwfwpt_rtime": "1727658000"}, "milliseconds"),
        ({"gjzwfwpt_rtime": "x" * 13}, "milliseconds"),
        ({"gjzwfwpt_sign": ""}, "missing"),
        ({"gjzwfwpt_rid": ""}, "missing"),
        ({"gjzwfwpt_sign": "é"}, "no signature fits"),
    ],
)
def test_the_channels_headers_altered(changes: dict[str, str], said: str) -> None:
    with pytest.raises(SignatureError, match=said):
        verify(CHANNEL_PARTY, _channel(**changes), BODY, AT)


def test_the_channels_time_is_bounded_and_the_schemes_do_not_stand_for_one_another() -> None:
    with pytest.raises(SignatureError, match="300 s"):
        verify(CHANNEL_PARTY, _channel(), BODY, AT + timedelta(milliseconds=300_001))
    with pytest.raises(SignatureError, match="missing"):
        verify(CHANNEL_PARTY, _headers(), BODY, AT)
    with pytest.raises(SignatureError, match="missing"):
        verify(Party((Key(SECRET),)), _channel(), BODY, AT)


@pytest.mark.parametrize("secret", ["", "short", "with space in the middle", "x" * 129, "密钥密钥密钥密钥密钥密钥密钥密钥"])
def test_a_channels_secret_of_another_form_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII") as caught:
        Key.of_text(secret)
    assert not secret or secret not in str(caught.value)


def test_a_secret_may_stand_in_the_environment() -> None:
    assert resolved("env:HEBEI", {"HEBEI": f"{SECRET}\n"}) == SECRET
    assert resolved(SECRET, {}) == SECRET
    for environment in ({}, {"HEBEI": " "}):
        with pytest.raises(ValueError, match="no variable HEBEI"):
            resolved("env:HEBEI", environment)
