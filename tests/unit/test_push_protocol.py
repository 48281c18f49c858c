"""The edge's protocol, part by part: binary mode, gzip, the handshake, proxies, the limit a sender, what is in flight."""

import base64
import gzip
import hashlib
import math
import zlib
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.problems import ProblemError
from shared.push import MOST_BYTES, Peers, handshake, parse, read_body
from shared.push.body import LEAST_SHARE, MOST_MEMBERS, Load
from shared.push.limits import Limits
from shared.push.peers import fingerprint
from shared.receipts import base64url
from tests.intake_support import event

DER = b"0\x82 not really a certificate, but bytes"
PRINT = hashlib.sha256(DER).hexdigest()


def _request(
    headers: dict[str, str] | list[tuple[str, str]], client: str | None = "10.0.0.9", parts: tuple[bytes, ...] = ()
) -> Request:
    given = headers.items() if isinstance(headers, dict) else headers
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in given]
    waiting = list(parts)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": waiting.pop(0) if waiting else b"", "more_body": bool(waiting)}

    peer = None if client is None else (client, 1)
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw, "client": peer}, receive)


def _refused(request: Request, body: bytes) -> tuple[int, str]:
    with pytest.raises(ProblemError) as caught:
        parse(request, body)
    return caught.value.status, caught.value.body.type.rpartition(":")[2]


# Binary mode


def test_what_the_public_library_writes_in_binary_and_structured_mode_is_one_event() -> None:
    said = event(time="x")
    attributes = {name: said[name] for name in ("id", "source", "type", "subject")} | {"datacontenttype": "application/json"}
    given = CloudEvent(attributes, said["data"])
    binary, structured = to_binary_event(given), to_structured_event(given)
    [one] = parse(_request(dict(binary.headers)), binary.body).items
    [other] = parse(_request(dict(structured.headers)), structured.body).items
    assert {name: one[name] for name in attributes if name in one} | {"data": one["data"]} == {
        name: other[name] for name in (*attributes, "data") if name in one
    }
    assert (one["subject"], one["specversion"], one["data"]) == ("BD1", "1.0", said["data"])


@given(st.text(min_size=1))
def test_an_attribute_in_any_script_survives_the_percent_encoding(subject: str) -> None:
    headers = {"content-type": "application/json", "ce-specversion": "1.0", "ce-subject": quote(subject, safe="")}
    assert parse(_request(headers), b"{}").items == [{"specversion": "1.0", "subject": subject, "data": {}}]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("a%20b", "a b"),
        ("a%2520b", "a%20b"),  # one round only
        ('"a b"', "a b"),  # as senders of older versions write it
        (r'"a \"b\" \\"', r'a "b" \ '.strip()),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("%E6%BB%A1", "满"),
    ],
)
def test_a_headers_value_is_unquoted_and_decoded_once(value: str, read: str) -> None:
    headers = {"content-type": "application/json; charset=utf-8", "ce-specversion": "1.0", "ce-id": value}
    assert parse(_request(headers), b"{}").items[0]["id"] == read


def test_attributes_that_cannot_be_read_are_told_by_pointer() -> None:
    base = [("content-type", "application/json"), ("ce-specversion", "1.0")]
    for bad, said in (
        ([("ce-id", "%ff")], "percent-encoded"),
        ([("ce-id", "a"), ("ce-id", "b")], "twice"),
        ([("ce-id", "é")], "UTF-8"),
    ):
        with pytest.raises(ProblemError) as caught:
            parse(_request(base + bad), b"{}")
        assert (caught.value.status, caught.value.body.errors[0].pointer) == (400, "/id")
        assert said in caught.value.body.errors[0].message


def test_a_header_cannot_stand_for_the_data_nor_a_strange_name_for_an_attribute() -> None:
    headers = {"content-type": "application/json", "ce-specversion": "1.0", "ce-data": "x", "ce-a_b": "x", "ce-": "x"}
    assert parse(_request(headers), b'{"a": 1}').items == [{"specversion": "1.0", "data": {"a": 1}}]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json"},
        {"content-type": "text/xml", "ce-specversion": "1.0"},
        {"ce-specversion": "1.0"},
        {"content-type": f"{MEDIA_TYPE}; charset=GBK"},
        {"content-type": 'application/json; charset="gb18030"', "ce-specversion": "1.0"},
    ],
)
def test_neither_an_event_nor_utf8_is_415(headers: dict[str, str]) -> None:
    assert _refused(_request(headers), b"{}") == (415, "media-type")


def test_a_further_media_type_is_read_by_its_own_function_and_only_where_it_is_given() -> None:
    rows = "application/vnd.onething.exchange+json"
    request = _request({"content-type": rows})
    assert parse(request, b'{"rows": [1, 2]}', {rows: lambda body: list(body["rows"])}).items == [1, 2]
    assert _refused(request, b"{}") == (415, "media-type")


# gzip


def _gzipped(body: bytes, **headers: str) -> tuple[Request, bytes]:
    return _request({"content-type": BATCH_MEDIA_TYPE, "content-encoding": "gzip", **headers}), body


def test_a_gzip_body_in_one_or_several_members_is_read_and_its_digest_is_of_what_was_sent() -> None:
    for packed in (gzip.compress(b"[1, 2]"), gzip.compress(b"[1,") + gzip.compress(b" 2]")):
        push = parse(*_gzipped(packed))
        assert (push.items, push.digest) == ([1, 2], hashlib.sha256(packed).hexdigest())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[1]", (400, "gzip")),
        (gzip.compress(b"[1]")[:-1], (400, "gzip")),
        (gzip.compress(b"[1]") + b"x", (400, "gzip")),
        (gzip.compress(b"[1]")[:-8] + b"\x00" * 8, (400, "gzip")),
        (zlib.compress(b"[1]"), (400, "gzip")),
        (b"", (400, "malformed")),
        (gzip.compress(b"[") + gzip.compress(b"") * MOST_MEMBERS, (400, "gzip")),
        (gzip.compress(b" " * (MOST_BYTES + 1)), (413, "too-large")),
        (gzip.compress(b" " * MOST_BYTES) + gzip.compress(b" "), (413, "too-large")),
        (gzip.compress(b"\x00" * 500_000_000), (413, "too-large")),
    ],
    ids=["plain", "cut", "trailing", "checksum", "zlib", "empty", "members", "one-more", "second-member", "bomb"],
)
def test_a_gzip_body_that_is_broken_or_too_large(body: bytes, expected: tuple[int, str]) -> None:
    assert _refused(*_gzipped(body)) == expected


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd", "gzip2"])
def test_another_coding_is_415(coding: str) -> None:
    assert _refused(_request({"content-type": BATCH_MEDIA_TYPE, "content-encoding": coding}), b"[1]") == (415, "content-coding")


def test_identity_is_no_coding() -> None:
    assert parse(_request({"content-type": BATCH_MEDIA_TYPE, "content-encoding": "identity"}), b"[1]").items == [1]


# The handshake


def test_the_handshake_allows_an_origin_and_a_rate_that_ask() -> None:
    answer = handshake(_request({"webhook-request-origin": "push.example.com", "webhook-request-rate": "120"}))
    assert (answer.status_code, answer.body) == (200, b"")
    assert answer.headers["webhook-allowed-origin"] == "push.example.com"
    assert answer.headers["webhook-allowed-rate"] == "*"
    without = handshake(_request({}))
    assert without.headers["allow"] == "POST, OPTIONS"
    assert not [name for name in without.headers if name.startswith("webhook")]


@pytest.mark.parametrize("origin", ["", "a b", "a\r\nx: y", "http://a", "-a", "a..b", "x" * 300, "*"])
def test_an_origin_that_is_no_domain_name_is_refused(origin: str) -> None:
    with pytest.raises(ProblemError, match="domain name"):
        handshake(_request({"webhook-request-origin": origin}))


# Proxies


def _peers(*trusted: str) -> Peers:
    from ipaddress import ip_network

    return Peers(tuple(ip_network(net) for net in trusted))


@pytest.mark.parametrize(
    ("client", "forwarded", "trusted", "address"),
    [
        ("203.0.113.7", None, (), "203.0.113.7"),
        ("203.0.113.7", "10.1.1.1", (), "203.0.113.7"),  # nobody's word is taken unasked
        ("203.0.113.7", "10.1.1.1", ("192.0.2.0/24",), "203.0.113.7"),
        ("192.0.2.1", "10.1.1.1", ("192.0.2.0/24",), "10.1.1.1"),
        ("192.0.2.1", "6.6.6.6, 10.1.1.1", ("192.0.2.0/24",), "10.1.1.1"),  # only the nearest is believed
        ("192.0.2.1", "10.1.1.1, 192.0.2.9", ("192.0.2.0/24",), "10.1.1.1"),
        ("192.0.2.1", "nonsense", ("192.0.2.0/24",), None),
        ("192.0.2.1", None, ("192.0.2.0/24",), None),
        ("::ffff:192.0.2.1", "10.1.1.1", ("192.0.2.0/24",), "10.1.1.1"),
        (None, "10.1.1.1", ("192.0.2.0/24",), None),
        ("unix", "10.1.1.1", ("192.0.2.0/24",), "unix"),
    ],
)
def test_the_address_is_the_nearest_that_is_no_proxy_of_ours(
    client: str | None, forwarded: str | None, trusted: tuple[str, ...], address: str | None
) -> None:
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    assert _peers(*trusted).address(_request(headers, client)) == address


@pytest.mark.parametrize(
    "value",
    [
        PRINT,
        PRINT.upper(),
        ":".join(PRINT[i : i + 2] for i in range(0, 64, 2)),
        f":{base64.b64encode(DER).decode()}:",
        f'By=spiffe://x;Hash={PRINT};Subject="CN=a"',
        quote(f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(DER).decode()}-----END CERTIFICATE-----\n"),
    ],
)
def test_a_fingerprint_is_read_in_each_form_that_a_proxy_gives(value: str) -> None:
    assert fingerprint(value) == PRINT
    trusted = _peers("10.0.0.0/8")
    assert trusted.certificate(_request({"client-cert": value})) == PRINT
    assert trusted.certificate(_request({"client-cert": value}, "203.0.113.7")) is None
    assert trusted.certificate(_request([("client-cert", value), ("client-cert", value)])) is None
    assert _peers().certificate(_request({"client-cert": value})) is None


@given(st.text(st.characters(max_codepoint=255)))
def test_what_is_no_certificate_gives_no_fingerprint_and_no_error(value: str) -> None:
    found = fingerprint(value)
    assert found is None or len(found) == 64


# The limit a sender


def _told(limits: Limits, rate: float) -> int | None:
    """The seconds that a refused sender is told to wait; ``None`` when it is let in."""
    try:
        limits.admit("a", rate)
    except ProblemError as error:
        told = error
    else:
        return None
    assert (told.status, told.body.type) == (429, "urn:onething:problem:too-fast")
    return told.retry_after


def test_a_sender_has_a_seconds_worth_may_overdraw_it_and_waits_until_the_debt_is_paid() -> None:
    now = 100.0
    limits = Limits(lambda: now)

    def push(events: int) -> int | None:
        """The seconds to wait, ``None`` when it was let in."""
        told = _told(limits, 10)
        if told is not None:
            return told
        limits.charge("a", 10, events)
        return None

    assert [push(9), push(1), push(1)] == [None, None, 1]
    now += 1
    assert push(1000) is None  # a batch larger than a second's worth passes
    assert push(1) == 100
    now += 99
    assert push(1) == 1
    now += 1
    assert push(10) is None
    limits.admit("b", 10)  # another's bucket is its own
    limits.admit("a", None)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 1000)), max_size=60), st.floats(0.5, 500))
def test_over_any_time_no_more_passes_than_the_rate_and_one_burst(steps: list[tuple[float, int]], rate: float) -> None:
    now = 0.0
    limits = Limits(lambda: now)
    passed = 0
    for wait, events in steps:
        now += wait
        if (told := _told(limits, rate)) is not None:
            now += told
            limits.admit("a", rate)  # who waits as told is let in
        limits.charge("a", rate, events)
        passed += events
        assert passed <= math.ceil(now * rate + max(rate, 1)) + events


# What is in flight


async def test_what_is_in_flight_is_bounded_and_given_back() -> None:
    load = Load("test", 100_000)
    small = _request({})
    with load.share(small) as first:
        first.hold(60_000)
        with pytest.raises(ProblemError) as caught:
            load.share(_request({"content-length": "50000"}))
        assert (caught.value.status, caught.value.retry_after) == (503, 1)
        assert caught.value.body.type == "urn:onething:problem:busy"
        with load.share(small) as second, pytest.raises(ProblemError):
            second.hold(50_000)  # one that did not say its length
        with load.share(small):
            pass
    with load.share(_request({"content-length": "100000"})) as whole:
        whole.hold(100_000)
        with pytest.raises(ProblemError):
            load.share(small)


async def test_small_requests_are_bounded_by_what_they_weigh_themselves() -> None:
    load = Load("test", 10 * LEAST_SHARE)
    held = [load.share(_request({})).__enter__() for _ in range(10)]
    with pytest.raises(ProblemError):
        load.share(_request({}))
    held[0].__exit__(None, None, None)
    load.share(_request({}))


async def test_a_body_that_ends_with_its_connection_is_told() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(ProblemError) as caught:
        await read_body(request)
    assert (caught.value.status, caught.value.body.type) == (400, "urn:onething:problem:incomplete")


def test_base64url_has_no_padding_and_a_safe_alphabet() -> None:
    assert base64url(b"\xfb\xff\xfe?") == "-__-Pw"
    assert orjson.dumps(base64url(b"")) == b'""'
