"""Receipts: what a sender can show to anyone as proof that its events were stored.

A receipt is a compact JWS (RFC 7515) signed with Ed25519 (RFC 8037). Its payload names the sender, the time, the request's
``webhook-id``, the SHA-256 of the body as it was received, and the ids of the events that were stored.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)  # fmt: skip

from shared.clock import rfc3339

TYPE: Final = "onething-receipt+jwt"
"""``typ`` of the header: nothing else that we sign may pass for a receipt (RFC 8725 §3.11)."""

_PEM: Final = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)

HOW_TO_MAKE: Final = "make one with: openssl genpkey -algorithm ed25519 -out receipt.pem (readable by the process alone)"


class ReceiptKeyError(ValueError):
    """The key file cannot be used; the message says what to do, and holds nothing of a key."""


def base64url(raw: bytes) -> str:
    """Without padding, as JOSE has it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def thumbprint(key: Ed25519PublicKey) -> str:
    """The key's RFC 7638 thumbprint: SHA-256 of its canonical JWK."""
    canonical = orjson.dumps({"crv": "Ed25519", "kty": "OKP", "x": base64url(_raw(key))})
    return base64url(hashlib.sha256(canonical).digest())


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


class Receipts:
    """Signs receipts with the first key, and shows all public keys: old receipts stay provable after a rotation."""

    def __init__(self, signing: Ed25519PrivateKey, former: Sequence[Ed25519PublicKey] = ()) -> None:
        self._key = signing
        self._public = [signing.public_key(), *former]
        header = {"alg": "EdDSA", "typ": TYPE, "kid": thumbprint(self._public[0])}
        self._header = base64url(orjson.dumps(header))

    @classmethod
    def of_file(cls, file: Path | None) -> "Receipts":
        """The keys of a PEM file: first the private key that signs, then former ones, private or public.

        Raises:
            ReceiptKeyError: no file, or one that cannot be used.
        """
        if file is None:
            raise ReceiptKeyError(f"set ONETHING_RECEIPT_KEY_FILE to a PEM file with an Ed25519 key; {HOW_TO_MAKE}")
        try:
            blocks = [match[0] for match in _PEM.finditer(file.read_bytes())]
        except OSError as error:
            raise ReceiptKeyError(f"{file}: {error.strerror}; {HOW_TO_MAKE}") from None
        keys = [_key(file, index, block) for index, block in enumerate(blocks)]
        if not keys or not isinstance(keys[0], Ed25519PrivateKey):
            raise ReceiptKeyError(f"{file}: the first block must be a PRIVATE KEY, which signs; {HOW_TO_MAKE}")
        former = [key.public_key() if isinstance(key, Ed25519PrivateKey) else key for key in keys[1:]]
        return cls(keys[0], former)

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set (RFC 7517)."""
        return {
            "keys": [
                {"kty": "OKP", "crv": "Ed25519", "x": base64url(_raw(key)), "kid": thumbprint(key), "alg": "EdDSA", "use": "sig"}
                for key in self._public
            ]
        }

    def sign(
        self, *, service: str, sender: str, at: datetime, request_id: str, digest: str, events: Sequence[str], sandbox: bool = False
    ) -> str:
        """The receipt of one request; ``digest`` is the body's SHA-256 in hex, ``events`` the ids of the stored events.

        In a sandbox nothing is stored, and the receipt says so: ``"sandbox": true``.
        """
        payload: dict[str, Any] = {
            "iss": f"urn:onething:{service}", "sub": sender, "iat": int(at.timestamp()), "time": rfc3339(at),
            "webhook_id": request_id, "body_sha256": digest, "events": events,
        }  # fmt: skip
        if sandbox:
            payload["sandbox"] = True
        signed = f"{self._header}.{base64url(orjson.dumps(payload))}"
        return f"{signed}.{base64url(self._key.sign(signed.encode()))}"


def _key(file: Path, index: int, block: bytes) -> Ed25519PrivateKey | Ed25519PublicKey:
    try:
        key = load_pem_public_key(block) if b"BEGIN PUBLIC KEY" in block else load_pem_private_key(block, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ReceiptKeyError(f"{file}: block {index + 1} is no key without a password; {HOW_TO_MAKE}") from None
    if not isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        raise ReceiptKeyError(f"{file}: block {index + 1} is no Ed25519 key; {HOW_TO_MAKE}")
    return key


def new_key() -> bytes:
    """A fresh private key in PEM (PKCS 8)."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
