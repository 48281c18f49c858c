"""From where a request comes: its address and its client certificate, through proxies that we trust."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Final
from urllib.parse import unquote

from fastapi import Request
from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from shared.signing.party import Network


def _split(given: object) -> object:
    return given.replace(",", " ").split() if isinstance(given, str) else given


Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)]
"""A setting: addresses or CIDR ranges, separated by commas."""

CERTIFICATE_HEADER: Final = "client-cert"
"""RFC 9440's name, the default."""

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_ENVOY: Final = re.compile(r"(?:^|;)\s*hash=\"?([0-9a-f]{64})\"?(?:;|$)", re.IGNORECASE)
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Peers:
    """The proxies whose ``X-Forwarded-For`` and certificate header we believe; nobody else's are looked at."""

    trusted: tuple[Network, ...] = ()
    certificate_header: str = CERTIFICATE_HEADER

    def address(self, request: Request) -> str | None:
        """The nearest address that is none of our proxies'."""
        direct = request.client.host if request.client else None
        if direct is None or not self._trusts(direct):
            return direct
        # Each proxy appends whom it saw: read from the right, and only as far as those who wrote it are ours.
        for hop in reversed(request.headers.get("x-forwarded-for", "").split(",")):
            address = hop.strip()
            if not _is_address(address):
                return None
            if not self._trusts(address):
                return address
        return None

    def comes_from(self, request: Request, networks: Iterable[Network]) -> bool:
        """Whether the request's own address is in one of ``networks``."""
        address = self.address(request)
        return address is not None and within(address, networks)

    def certificate(self, request: Request) -> str | None:
        """SHA-256 of the client certificate that the trusted proxy next to us verified, in lower-case hex."""
        if request.client is None or not self._trusts(request.client.host):
            return None
        given = request.headers.getlist(self.certificate_header)
        return fingerprint(given[0]) if len(given) == 1 else None

    def _trusts(self, address: str) -> bool:
        return _is_address(address) and within(address, self.trusted)


def within(address: str, networks: Iterable[Network]) -> bool:
    """Whether ``address`` is in one of ``networks``; an IPv4 address in IPv6's form is read as what it is."""
    found = ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def fingerprint(header: str) -> str | None:
    """The fingerprint in any form that a proxy gives it: hexadecimal (HAProxy), ``:base64 DER:`` (RFC 9440), Envoy's
    ``Hash=…``, or the URL-encoded PEM (nginx ``$ssl_client_escaped_cert``). ``None`` where it is none of them.
    """
    text = header.strip()
    plain = text.replace(":", "").lower()
    if _HEX.fullmatch(plain):
        return plain
    if found := _ENVOY.search(text):
        return found[1].lower()
    pem = _PEM.search(unquote(text))
    if pem is None and not (text.startswith(":") and text.endswith(":")):
        return None
    try:
        der = base64.b64decode("".join((pem[1] if pem else text.strip(":")).split()), validate=True)
    except binascii.Error:
        return None
    return hashlib.sha256(der).hexdigest() if der else None
