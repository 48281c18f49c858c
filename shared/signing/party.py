"""One who may push: how it proves itself and how much it may send; and its entry in a file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from shared.signing.keys import Key, resolved

Scheme = Literal["standard-webhooks", "gjzwfwpt"]
Network = IPv4Network | IPv6Network

STANDARD: Final[Scheme] = "standard-webhooks"
CHANNEL: Final[Scheme] = "gjzwfwpt"
"""The national data channel's headers, whose signature does not cover the body."""


@dataclass(frozen=True, slots=True)
class Party:
    """How a sender proves itself.

    Any of ``keys`` signs for it. Where ``addresses`` or ``client_certificate`` (SHA-256 of the certificate's DER, lower-case
    hex) is given, the request must come from there as well. ``events_per_second`` bounds it; ``None`` is no bound.
    """

    keys: tuple[Key, ...] = ()
    scheme: Scheme = STANDARD
    addresses: tuple[Network, ...] = ()
    client_certificate: str | None = None
    events_per_second: float | None = None


def _fingerprint(given: str) -> str:
    plain = given.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise ValueError(
            "a fingerprint is 64 hexadecimal digits: openssl x509 -in client.pem -noout -fingerprint -sha256 prints it"
        )
    return plain


class PartyEntry(BaseModel):
    """What stands of any party in its file."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    secrets: list[SecretStr] = Field(min_length=1)
    client_certificate: Annotated[str, AfterValidator(_fingerprint)] | None = None
    events_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    def party(self, environment: Mapping[str, str]) -> Party:
        """The party of Standard Webhooks that this entry describes.

        Raises:
            ValueError: a secret cannot be used.
        """
        keys = self.keys(STANDARD, environment)
        return Party(keys, client_certificate=self.client_certificate, events_per_second=self.events_per_second)

    def keys(self, scheme: Scheme, environment: Mapping[str, str]) -> tuple[Key, ...]:
        """The keys, ``env:NAME`` read from ``environment``.

        Raises:
            ValueError: a secret cannot be used; the message says which by its place, and does not repeat it.
        """
        made = []
        for index, secret in enumerate(self.secrets):
            try:
                text = resolved(secret.get_secret_value(), environment)
                made.append(Key.of_text(text) if scheme == CHANNEL else Key(text))
            except ValueError as error:
                raise ValueError(f"secrets/{index}: {error}") from None
        return tuple(made)
