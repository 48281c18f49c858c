"""Whether a request is proven to be a party's: Standard Webhooks, or the national data channel's headers.

Every comparison is of constant time, and whatever is wrong, the same work is done before it is said.
"""

import base64
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from shared.signing.keys import V1, V1SM3, Key
from shared.signing.party import CHANNEL, Party

TOLERANCE_SECONDS: Final = 300
"""How far a timestamp may be from our clock, either way (Standard Webhooks, CONTRACT §2)."""

MOST_ENTRIES: Final = 16
"""How many entries of one ``webhook-signature`` are looked at."""


class SignatureError(Exception):
    """The request is not proven to be the sender's. The message is for our log, never for the answer."""


def verify(party: Party, headers: Mapping[str, str], body: bytes, at: datetime) -> None:
    """Passes when one of the party's keys signed this request, not over 300 s from ``at``.

    Raises:
        SignatureError: a header is missing or malformed, the timestamp is stale, or no signature fits.
    """
    if party.scheme == CHANNEL:
        _verify_channel(party.keys, headers, at)
    else:
        _verify_standard(party.keys, headers, body, at)


def _verify_standard(keys: Sequence[Key], headers: Mapping[str, str], body: bytes, at: datetime) -> None:
    message_id = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    entries = headers.get("webhook-signature", "").split(" ", MOST_ENTRIES)[:MOST_ENTRIES]
    signatures = {version: [e.encode() for e in entries if e.startswith(f"{version},")] for version in (V1, V1SM3)}
    if not message_id or not any(signatures.values()):
        raise SignatureError("webhook-id, or a v1 or v1sm3 entry of webhook-signature, is missing")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise SignatureError("webhook-timestamp is not whole seconds since the epoch")
    fits = False
    # Every pair is compared, so that the time taken does not tell which key or entry fits.
    for version, given in signatures.items():
        if not given:
            continue
        for key in keys:
            expected = key.sign(message_id, int(stamp), body, version).encode()
            for signature in given:
                fits |= hmac.compare_digest(expected, signature)
    _judge(fits, abs(at.timestamp() - int(stamp)), "webhook-timestamp")


def _verify_channel(keys: Sequence[Key], headers: Mapping[str, str], at: datetime) -> None:
    """``gjzwfwpt_sign`` is base64(HMAC-SHA256(secret, sid + rid + rtime)), ``rtime`` in milliseconds; the body is unsigned."""
    rid, sid = headers.get("gjzwfwpt_rid", ""), headers.get("gjzwfwpt_sid", "")
    stamp, given = headers.get("gjzwfwpt_rtime", ""), headers.get("gjzwfwpt_sign", "")
    if not (rid and sid and given):
        raise SignatureError("gjzwfwpt_rid, gjzwfwpt_sid or gjzwfwpt_sign is missing")
    # Thirteen digits always: sid, rid and rtime are signed without a separator, and so only one division of the text fits.
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) == 13):
        raise SignatureError("gjzwfwpt_rtime is not milliseconds since the epoch")
    signed = f"{sid}{rid}{stamp}".encode()
    fits = False
    for key in keys:
        fits |= hmac.compare_digest(base64.b64encode(key.hmac_sha256(signed)), given.encode())
    _judge(fits, abs(at.timestamp() - int(stamp) / 1000), "gjzwfwpt_rtime")


def _judge(fits: bool, seconds_away: float, stamp: str) -> None:
    if seconds_away > TOLERANCE_SECONDS:
        raise SignatureError(f"{stamp} is over {TOLERANCE_SECONDS} s from our clock")
    if not fits:
        raise SignatureError("no signature fits any active key")
