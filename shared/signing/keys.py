"""A party's secret, and what it makes of a message."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

PREFIX: Final = "whsec_"
FROM_ENVIRONMENT: Final = "env:"

V1: Final = "v1"
"""HMAC-SHA256, as Standard Webhooks has it."""
V1SM3: Final = "v1sm3"
"""HMAC-SM3 (GB/T 32905) over the same text, for senders bound to the national algorithms."""

_SM3: Final = hashes.SM3()


class Key:
    """A sender's secret. Its ``repr`` hides it, so that no log can hold it."""

    __slots__ = ("_raw", "fingerprint")

    fingerprint: str
    """Enough to tell two keys apart, and no way back to either; of a key that somebody chose, which may be guessed, nothing."""

    def __init__(self, secret: str) -> None:
        """Takes ``whsec_<base64>``.

        Raises:
            ValueError: not that form, or fewer than 24 bytes; the message does not repeat it.
        """
        try:
            raw = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            raise ValueError("a secret is whsec_ followed by base64") from None
        if not secret.startswith(PREFIX) or not 24 <= len(raw) <= 64:
            raise ValueError("a secret is whsec_ followed by the base64 of 24 to 64 random bytes")
        self._raw = raw
        self.fingerprint = hashlib.sha256(secret.encode()).hexdigest()[:8]

    @classmethod
    def of_text(cls, secret: str) -> Self:
        """A key whose bytes are the text itself, as the national data channel hands them out.

        Raises:
            ValueError: fewer than 16 characters, or others than visible ASCII; the message does not repeat it.
        """
        if not 16 <= len(secret) <= 128 or not all("!" <= character <= "~" for character in secret):
            raise ValueError("a secret of the data channel is 16 to 128 visible ASCII characters")
        made = cls.__new__(cls)
        made._raw = secret.encode()
        made.fingerprint = "(channel)"
        return made

    def __repr__(self) -> str:
        return "Key(…)"

    def hmac_sha256(self, message: bytes) -> bytes:
        """32 bytes."""
        return hmac.digest(self._raw, message, hashlib.sha256)

    def hmac_sm3(self, message: bytes) -> bytes:
        """32 bytes."""
        context = HMAC(self._raw, _SM3)
        context.update(message)
        return context.finalize()

    def sign(self, message_id: str, timestamp: int, body: bytes, version: str = V1) -> str:
        """The value of one ``webhook-signature`` entry, e.g. ``v1,K5oZ…=``; ``version`` is ``v1`` or ``v1sm3``."""
        signed = f"{message_id}.{timestamp}.".encode() + body
        digest = self.hmac_sm3(signed) if version == V1SM3 else self.hmac_sha256(signed)
        return f"{version}," + base64.b64encode(digest).decode()


def resolved(secret: str, environment: Mapping[str, str]) -> str:
    """The secret itself: that of the variable where ``env:NAME`` stands.

    Raises:
        ValueError: the variable is not set; its name is told.
    """
    if not secret.startswith(FROM_ENVIRONMENT):
        return secret
    name = secret.removeprefix(FROM_ENVIRONMENT)
    found = environment.get(name, "").strip()
    if not found:
        raise ValueError(f"the environment has no variable {name}: set it to the secret")
    return found
