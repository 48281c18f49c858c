"""Standard Webhooks signatures (scheme ``v1``: HMAC-SHA256 over ``id.timestamp.body``)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

TOLERANCE_SECONDS: Final = 300
"""How far a timestamp may be from our clock, either way (Standard Webhooks, CONTRACT §2)."""

_PREFIX: Final = "whsec_"


class SignatureError(Exception):
    """The request is not proven to be the sender's. The message is for our log, never for the answer."""


class Key:
    """A sender's secret. Its ``repr`` hides it, so that no log can hold it."""

    __slots__ = ("_raw",)

    def __init__(self, secret: str) -> None:
        """Takes ``whsec_<base64>``.

        Raises:
            ValueError: not that form, or fewer than 24 bytes.
        """
        try:
            raw = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError("a secret is whsec_ followed by base64") from None
        if not secret.startswith(_PREFIX) or not 24 <= len(raw) <= 64:
            raise ValueError("a secret is whsec_ followed by the base64 of 24 to 64 random bytes")
        self._raw = raw

    def __repr__(self) -> str:
        return "Key(…)"

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The value of one ``webhook-signature`` entry, e.g. ``v1,K5oZ…=``."""
        signed = f"{message_id}.{timestamp}.".encode() + body
        return "v1," + base64.b64encode(hmac.digest(self._raw, signed, hashlib.sha256)).decode()


def verify(keys: Sequence[Key], headers: Mapping[str, str], body: bytes, at: datetime) -> None:
    """Passes when one of ``keys`` signed exactly these bytes, not over 300 s from ``at``.

    Raises:
        SignatureError: a header is missing or malformed, the timestamp is stale, or no signature fits.
    """
    message_id = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    signatures = [entry for entry in headers.get("webhook-signature", "").split(" ") if entry.startswith("v1,")]
    if not message_id or not signatures:
        raise SignatureError("webhook-id or a v1 webhook-signature is missing")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise SignatureError("webhook-timestamp is not whole seconds since the epoch")
    if abs(at.timestamp() - int(stamp)) > TOLERANCE_SECONDS:
        raise SignatureError("webhook-timestamp is over 300 s from our clock")
    fits = False
    # Every pair is compared, so that the time taken does not tell which key or entry fits.
    for key in keys:
        expected = key.sign(message_id, int(stamp), body).encode()
        for signature in signatures:
            fits |= hmac.compare_digest(expected, signature.encode())
    if not fits:
        raise SignatureError("no signature fits any active key")
