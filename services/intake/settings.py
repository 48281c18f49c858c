"""Settings of the intake service, from the environment (``ONETHING_…``), and the file of senders."""

import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, RootModel, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.intake.domain import Sender
from services.intake.domain.dialects import DIALECTS, CodesError, Dialect
from shared import items
from shared.events.envelope import IDENTIFIER
from shared.kafka import KafkaSettings
from shared.push.body import MOST_BYTES
from shared.push.edge import MOST_BYTES_IN_FLIGHT
from shared.push.peers import CERTIFICATE_HEADER, Networks
from shared.signing import Party, PartyEntry, Scheme
from shared.tracing import TracingSettings


class Settings(KafkaSettings, TracingSettings, BaseSettings):
    """What both processes need.

    ``senders_file`` is JSON, read at start and again when it changes: ``{"<sender>": {"source": "urn:…", "secrets":
    ["whsec_…"]}}``; several secrets while they are exchanged, the rest in ``docs/signatures.md``.
    ``receipt_key_file`` is PEM: the Ed25519 key that signs receipts, then former ones; the api does not start without it.
    ``trusted_proxies`` are the addresses whose ``X-Forwarded-For`` and ``certificate_header`` are believed.
    ``most_bytes_in_flight`` bounds the bodies that wait in one process. ``most_unusable`` is the share of a batch of
    ``province-push`` above which the worker halts instead of parking it, ``most_unusable_in_a_row`` how many one after another
    are too many (0: no limit); a share of 1 lets everything be parked. ``digest_key_file`` keys the digest of what is parked.

    ``postgres_dsn`` is the service's own role; without it nothing is indexed, and what asks for the index answers 503.
    ``postgres_admin_dsn`` is for migrations only. ``operator_token`` opens what is parked; an empty one opens nothing.
    ``metrics_url`` is where a dry run asks what would be counted.
    """

    model_config = SettingsConfigDict(env_prefix="ONETHING_", extra="ignore")

    topic_prefix: str = "onething"
    host: str = "127.0.0.1"
    port: int = 8101
    senders_file: Path
    batch_records: int = Field(default=5000, ge=1)
    receipt_key_file: Path | None = None
    trusted_proxies: Networks = ()
    certificate_header: str = CERTIFICATE_HEADER
    most_bytes_in_flight: int = Field(default=MOST_BYTES_IN_FLIGHT, ge=MOST_BYTES)
    most_unusable: float = Field(default=0.5, ge=0, le=1)
    most_unusable_in_a_row: int = Field(default=200, ge=0)
    digest_key_file: Path | None = None
    postgres_dsn: SecretStr | None = None
    postgres_admin_dsn: SecretStr | None = None
    pool_size: int = Field(default=4, ge=1)
    operator_token: SecretStr = SecretStr("")
    metrics_url: str = ""


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
    dialect: Literal[*DIALECTS] | None = None  # type: ignore[valid-type]  # the names are found when the process starts
    codes: Path | None = None
    sandbox: bool = False

    @model_validator(mode="after")
    def _body_is_protected(self) -> Self:
        if self.scheme == "gjzwfwpt" and not self.addresses and self.client_certificate is None:
            raise ValueError(
                "the signature of scheme gjzwfwpt does not cover the body: bind the sender by addresses or client_certificate"
            )
        return self

    @model_validator(mode="after")
    def _codes_are_a_dialects(self) -> Self:
        if self.codes is not None and self.dialect is None:
            raise ValueError("codes are of a dialect: name it too")
        return self

    def sender(self, name: str, environment: Mapping[str, str], folder: Path) -> Sender:
        """The sender; ``codes`` is a file relative to ``folder``.

        Raises:
            ValueError: a secret or the table of codes cannot be used.
        """
        keys = self.keys(self.scheme, environment)
        party = Party(keys, self.scheme, tuple(self.addresses), self.client_certificate, self.events_per_second)
        allowed = None if self.items is None else frozenset(self.items)
        return Sender(name, self.source, party, allowed, self._dialect(folder), self.sandbox)

    def _dialect(self, folder: Path) -> Dialect | None:
        if self.dialect is None or self.codes is None:
            return None if self.dialect is None else DIALECTS[self.dialect]
        try:
            return DIALECTS[self.dialect].with_codes((folder / self.codes).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"codes: {self.codes} cannot be read ({type(error).__name__})") from None
        except CodesError as error:
            raise ValueError(f"codes: {self.codes}: {error}") from None


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
            made[name] = entry.sender(name, environment, file.parent)
        except ValueError as error:
            raise SendersFileError(f"{file}: {name}/{error} ({expected})") from None
    return made
