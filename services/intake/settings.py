"""Settings of the intake service, from the environment (``ONETHING_…``), and the file of senders."""

import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, RootModel, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.intake.domain import Sender
from shared import items
from shared.events.envelope import IDENTIFIER
from shared.signing import Party, PartyEntry, Scheme


class Settings(BaseSettings):
    """What both processes need.

    ``senders_file`` is JSON, read at start and again when it changes: ``{"<sender>": {"source": "urn:…", "secrets":
    ["whsec_…"]}}``; several secrets while they are exchanged, the rest in ``docs/signatures.md``.
    ``most_unusable`` is the share of a batch of ``province-push`` above which the worker halts instead of parking it; 1 lets
    everything be parked.
    """

    model_config = SettingsConfigDict(env_prefix="ONETHING_", extra="ignore")

    kafka: str = "127.0.0.1:9092"
    topic_prefix: str = "onething"
    host: str = "127.0.0.1"
    port: int = 8101
    senders_file: Path
    batch_records: int = Field(default=5000, ge=1)
    most_unusable: float = Field(default=0.5, ge=0, le=1)


class SendersFileError(Exception):
    """The senders file cannot be used; the message says what to mend, and holds no secret."""


def _item(code: str) -> str:
    try:
        return items.find(code).code
    except items.UnknownItem as error:
        raise ValueError(str(error)) from None


class _Sender(PartyEntry):
    """A sender as the file has it; ``docs/signatures.md`` says what each field means."""

    source: str = Field(pattern=r"^[!-~]{1,256}$")
    items: list[Annotated[str, AfterValidator(_item)]] | None = Field(default=None, min_length=1)
    scheme: Scheme = "standard-webhooks"
    addresses: list[IPv4Network | IPv6Network] = Field(default_factory=list)
    dialect: str | None = Field(default=None, pattern=r"^[a-z0-9_-]{1,64}$")
    sandbox: bool = False

    @model_validator(mode="after")
    def _body_is_protected(self) -> Self:
        if self.scheme == "gjzwfwpt" and not self.addresses and self.client_certificate is None:
            raise ValueError(
                "the signature of scheme gjzwfwpt does not cover the body: bind the sender by addresses or client_certificate"
            )
        return self

    def sender(self, name: str, environment: Mapping[str, str]) -> Sender:
        keys = self.keys(self.scheme, environment)
        party = Party(keys, self.scheme, tuple(self.addresses), self.client_certificate, self.events_per_second)
        allowed = None if self.items is None else frozenset(self.items)
        return Sender(name, self.source, party, allowed, self.dialect, self.sandbox)


class _Senders(RootModel[dict[Annotated[str, Field(pattern=IDENTIFIER)], _Sender]]):
    model_config = ConfigDict(hide_input_in_errors=True)

    root: dict[Annotated[str, Field(pattern=IDENTIFIER)], _Sender] = Field(min_length=1)


def _place(location: tuple[int | str, ...]) -> str:
    return "/".join(str(part) for part in location if part != "[key]") or "the whole"


def read_senders(file: Path, environment: Mapping[str, str] = os.environ) -> Mapping[str, Sender]:
    """The senders by id; a secret ``env:NAME`` is taken from ``environment``.

    Raises:
        SendersFileError: the file cannot be read or has another form.
    """
    expected = 'expected {"<sender>": {"source": "urn:…", "secrets": ["whsec_…"]}}'
    try:
        senders = _Senders.model_validate_json(file.read_bytes()).root
    except OSError as error:
        raise SendersFileError(f"{file}: {error.strerror}; let ONETHING_SENDERS_FILE name a file that we may read") from None
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        places = "; ".join(f"{_place(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in found)
        raise SendersFileError(f"{file}: {places} ({expected})") from None
    made: dict[str, Sender] = {}
    for name, entry in senders.items():
        try:
            made[name] = entry.sender(name, environment)
        except ValueError as error:
            raise SendersFileError(f"{file}: {name}/{error} ({expected})") from None
    return made
