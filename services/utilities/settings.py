"""Settings of the utilities service, from the environment (``ONETHING_…``)."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, Field, RootModel, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.utilities.domain.limits import LimitsError, TimeLimits
from shared.kafka import KafkaSettings
from shared.push.body import MOST_BYTES
from shared.push.edge import MOST_BYTES_IN_FLIGHT
from shared.push.peers import CERTIFICATE_HEADER, Networks
from shared.signing import Party, PartyEntry
from shared.tracing import TracingSettings

LIMITS: Final = Path(__file__).parent / "limits.toml"
"""Published examples of time limits."""


class Settings(KafkaSettings, TracingSettings, BaseSettings):
    """What the processes need. ``postgres_dsn`` is the service's own role; ``postgres_admin_dsn`` is for migrations only.

    ``companies_file`` is JSON, read at start and again when it changes: ``{"<company>": {"secrets": ["whsec_…"]}}``; several
    secrets while they are exchanged, the rest in ``docs/signatures.md``. ``receipt_key_file``, ``trusted_proxies``,
    ``certificate_header`` and ``most_bytes_in_flight`` are the push edge's, as in intake. ``limits_file`` is the worker's, read at
    start: ``docs/time-limits.md``. ``operator_token`` opens the audit; an empty one opens nothing. ``page_url`` is where companies
    reach their page, e.g. ``https://sheets.example.cn``: with https the session's cookie never goes otherwise. ``most_unusable``,
    ``most_unusable_in_a_row`` and ``digest_key_file`` are as in intake: ``docs/parking.md``.
    """

    model_config = SettingsConfigDict(env_prefix="ONETHING_", extra="ignore")

    topic_prefix: str = "onething"
    host: str = "127.0.0.1"
    port: int = 8102
    postgres_dsn: SecretStr
    postgres_admin_dsn: SecretStr | None = None
    companies_file: Path | None = None
    limits_file: Path = LIMITS
    receipt_key_file: Path | None = None
    trusted_proxies: Networks = ()
    certificate_header: str = CERTIFICATE_HEADER
    most_bytes_in_flight: int = Field(default=MOST_BYTES_IN_FLIGHT, ge=MOST_BYTES)
    page_url: str = ""
    operator_token: SecretStr = SecretStr("")
    pool_size: int = 8
    batch_records: int = 5000
    most_unusable: float = Field(default=0.5, ge=0, le=1)
    most_unusable_in_a_row: int = Field(default=200, ge=0)
    digest_key_file: Path | None = None


class _Companies(RootModel[dict[str, PartyEntry]]):
    model_config = ConfigDict(hide_input_in_errors=True)


def read_companies(file: Path, environment: Mapping[str, str] = os.environ) -> Mapping[str, Party]:
    """How each company proves itself; a secret ``env:NAME`` is taken from ``environment``.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has another form; the message holds no secret.
    """
    companies = _Companies.model_validate_json(file.read_bytes()).root
    return {name: entry.party(environment) for name, entry in companies.items()}


def read_limits(file: Path) -> TimeLimits:
    """The time limits of installations.

    Raises:
        OSError: the file cannot be read.
        LimitsError: it cannot be used; the message says where and why.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LimitsError(f"{file.name} is no TOML in UTF-8: {error}") from None
    return TimeLimits.read(content)
