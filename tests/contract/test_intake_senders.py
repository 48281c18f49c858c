"""Who may push what, and from where: the data channel's senders, addresses, certificates, item codes; one answer to all others."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.intake.main import build_api
from services.intake.settings import Settings
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.kafka import Topics
from tests.conftest import Credentials
from tests.intake_support import SENDER, SOURCE, event, signed
from tests.utilities_support import events_of, records_of, running

CHANNEL_SECRET = "the-channels-own-secret"
CERTIFICATE = hashlib.sha256(b"certificate").hexdigest()
PROXY = "127.0.0.1"  # the test's client stands where a proxy would


@pytest.fixture
async def client(kafka: str, topics: Topics, credentials: Credentials) -> AsyncIterator[httpx.AsyncClient]:
    secrets = [credentials.senders[SENDER]]
    channel = {"source": SOURCE, "secrets": [CHANNEL_SECRET], "scheme": "gjzwfwpt"}
    senders: dict[str, Any] = {
        "by-address": channel | {"addresses": ["10.1.0.0/16", "2001:db8::/32"]},
        "by-certificate": channel | {"client_certificate": CERTIFICATE},
        "by-both": channel | {"addresses": ["10.1.0.0/16"], "client_certificate": CERTIFICATE},
        "standard-by-address": {"source": SOURCE, "secrets": secrets, "addresses": ["10.1.0.0/16"]},
        "direct": channel | {"addresses": ["127.0.0.1"]},
        "credit": {"source": SOURCE, "secrets": secrets, "items": ["credit-repair"]},
    }
    credentials.senders_file.write_text(json.dumps(senders))
    settings = Settings.model_validate(
        {
            "kafka": kafka, "topic_prefix": topics.prefix, "senders_file": credentials.senders_file,
            "receipt_key_file": credentials.receipt_key_file, "trusted_proxies": f"{PROXY}, 192.0.2.0/24",
        }
    )  # fmt: skip
    async with running(build_api(settings)) as found:
        yield found


def _channel(**changes: str) -> dict[str, str]:
    rtime = str(int(time.time() * 1000))
    sign = base64.b64encode(hmac.digest(CHANNEL_SECRET.encode(), f"s1r-1{rtime}".encode(), "sha256")).decode()
    headers = {"gjzwfwpt_rid": "r-1", "gjzwfwpt_sid": "s1", "gjzwfwpt_rtime": rtime, "gjzwfwpt_sign": sign}
    return {"content-type": MEDIA_TYPE} | headers | changes


async def test_a_sender_is_taken_from_where_it_is_bound_to_and_told_the_same_words_from_elsewhere(
    client: httpx.AsyncClient, credentials: Credentials, kafka: str, topics: Topics
) -> None:
    standard = signed(credentials.senders[SENDER], json.dumps(event("e-1")).encode())
    here, there, certified = {"x-forwarded-for": "10.1.2.3"}, {"x-forwarded-for": "10.2.0.1"}, {"client-cert": CERTIFICATE}
    cases = [
        ("by-address", _channel() | here, True),
        ("by-address", _channel() | {"x-forwarded-for": "2001:db8::7"}, True),
        ("by-address", _channel() | {"x-forwarded-for": "10.1.2.3, 192.0.2.7"}, True),
        ("by-address", _channel() | there, False),
        ("by-address", _channel() | {"x-forwarded-for": "10.1.2.3, 10.2.0.1"}, False),
        ("by-address", _channel(), False),
        ("by-address", _channel(gjzwfwpt_rid="r-2") | here, False),
        ("by-address", standard | here, False),
        ("by-certificate", _channel() | certified, True),
        ("by-certificate", _channel() | {"client-cert": hashlib.sha256(b"another").hexdigest()}, False),
        ("by-certificate", _channel() | here, False),
        ("by-both", _channel() | here | certified, True),
        ("by-both", _channel() | here, False),
        ("by-both", _channel() | certified, False),
        ("standard-by-address", standard | here, True),
        ("standard-by-address", standard | there, False),
        ("direct", _channel(), False),  # a proxy's own address is nobody's
        ("nobody", _channel() | here, False),
        ("nobody", standard | here, False),
    ]
    refused = set()
    for sender, headers, taken in cases:
        answer = await client.post(f"/v1/senders/{sender}/events", content=json.dumps(event("e-1")), headers=headers)
        assert answer.status_code == (202 if taken else 401), (sender, headers)
        if not taken:
            told = answer.json()
            assert told.pop("instance").startswith("urn:onething:request:")  # of the request alone, never of the reason
            refused.add(json.dumps(told))
    assert len(refused) == 1
    assert {e["id"] for e in events_of(await records_of(kafka, topics.case_events))} == {"e-1"}


async def test_what_the_channel_rejects_is_parked_once_however_often_it_is_sent(
    client: httpx.AsyncClient, kafka: str, topics: Topics
) -> None:
    batch = json.dumps([event("e-1"), event("e-2", county="999999")]).encode()
    for _ in range(2):
        headers = _channel() | {"content-type": BATCH_MEDIA_TYPE, "x-forwarded-for": "10.1.0.1", "webhook-id": str(time.time())}
        assert (await client.post("/v1/senders/by-address/events", content=batch, headers=headers)).status_code == 202
    origins = {e["subject"] for e in events_of(await records_of(kafka, topics.parked))}
    # The body names the request: what stands in its headers is under no signature.
    assert origins == {f"http/intake/by-address/{hashlib.sha256(batch).hexdigest()[:32]}/1"}


async def test_an_item_that_is_not_the_senders_is_refused_as_another_source_is(
    client: httpx.AsyncClient, credentials: Credentials
) -> None:
    async def pushed(content: Any) -> httpx.Response:
        body = json.dumps(content).encode()
        media_type = BATCH_MEDIA_TYPE if isinstance(content, list) else MEDIA_TYPE
        headers = signed(credentials.senders[SENDER], body, media_type)
        return await client.post("/v1/senders/credit/events", content=body, headers=headers)

    alone = await pushed(event("e-1"))
    assert (alone.status_code, alone.json()["type"]) == (403, "urn:onething:problem:not-entitled")
    assert alone.json()["errors"] == [{"pointer": "/data/item", "message": "not an item of this sender's"}]
    mixed = (await pushed([event("e-1"), event("e-2", item="credit-repair"), event("e-3", item=None)])).json()
    assert [result["status"] for result in mixed["results"]] == ["rejected", "accepted", "accepted"]
