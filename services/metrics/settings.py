"""Settings of the metrics service, from the environment (``ONETHING_…``)."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.metrics.domain import readers
from services.metrics.domain.access import Scope
from services.metrics.domain.readers import Directory, ReadersFileError
from shared.kafka import KafkaSettings
from shared.push.peers import Networks
from shared.tracing import TracingSettings


class Settings(KafkaSettings, TracingSettings, BaseSettings):
    """What both processes need. ``postgres_dsn`` is the service's own role; ``postgres_admin_dsn`` is for migrations only."""

    model_config = SettingsConfigDict(env_prefix="ONETHING_", extra="ignore")

    topic_prefix: str = "onething"
    group: str = ""
    """Consumer group; empty is the topics' own, ``onething-metrics``. The offsets live in the database, so a worker under a fresh
    name goes on where the last one was, at once."""
    host: str = "127.0.0.1"
    port: int = 8103
    postgres_dsn: SecretStr
    postgres_admin_dsn: SecretStr | None = None
    postgres_reader_dsn: SecretStr | None = None
    """A role that may only select (``migrate`` makes it): the api reads with it, and dashboards may. Without it the api reads with
    the service's own role."""
    reader_token: SecretStr = SecretStr("")
    operator_token: SecretStr = SecretStr("")
    page_url: str = ""
    """Where people reach the page; with ``https://`` its cookie goes no other way."""
    readers_file: Path | None = None
    """Further readers (``domain/readers.py`` has its form), read again when it changes."""
    session_key_file: Path | None = None
    """Signs the page's sessions, at all api processes alike; without it a key that comes of the operator's token does."""
    trusted_proxies: Networks = ()
    """Whose ``X-Forwarded-For`` is believed."""
    reads_per_second: float = Field(2000, ge=0)
    """What one reader may ask of one process; a list costs 5, a document 20, a recount 50; 0 is no limit."""
    failed_logins_per_minute: float = Field(30, ge=0)
    """How many wrong tokens one address may show one process; 0 is no limit."""
    oidc_issuer: str = Field("", pattern=r"^(https?://.*[^/])?$")
    """The issuer of OpenID Connect whose people may log in (``docs/access.md``); without it there is no such login."""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_client_secret_file: Path | None = None
    oidc_audience: str = ""
    """What the issuer's access tokens are for when the api takes them as bearers; without it it takes none."""
    oidc_requested: str = "openid profile"
    """The scopes that are asked of the issuer."""
    oidc_scope_claim: str = "onething_scope"
    oidc_county_claim: str = "onething_county"
    oidc_scopes: dict[str, Scope] = {"reader": "reader", "county": "county", "operator": "operator"}
    """The issuer's words as ours, in JSON."""
    oidc_default_scope: Scope | None = None
    """Of those for whom the claim has no word of ours; without it they may see nothing."""
    pool_size: int = 8
    batch_records: int = 5_000
    most_unusable: float = Field(0.5, ge=0, le=1)
    """The share of a batch above which the worker halts instead of parking it; 1 lets everything be parked."""
    most_unusable_in_a_row: int = Field(200, ge=0)
    """How many unusable records one after another are too many; 0 is no limit."""
    digest_key_file: Path | None = None
    """Keys the digest of what is parked."""
    consistency_seconds: float = Field(900, ge=0)
    """How often the worker recounts the cases against the counters; 0 turns it off."""

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> Self:
        if self.oidc_issuer:
            if not self.oidc_client_id:
                raise ValueError("ONETHING_OIDC_ISSUER needs ONETHING_OIDC_CLIENT_ID")
            if not self.page_url:
                raise ValueError("ONETHING_OIDC_ISSUER needs ONETHING_PAGE_URL: the issuer sends people back there")
            if self.oidc_audience == self.oidc_client_id:
                # An id token is for the client: it says who logged in, and must not open the api to whom it is shown.
                raise ValueError("ONETHING_OIDC_AUDIENCE must not be the client's id: name the api at the issuer")
        return self


def read_readers(file: Path) -> Directory:
    """The readers of a file.

    Raises:
        ReadersFileError: it cannot be read, or its content cannot be used; the message holds no digest.
    """
    try:
        return readers.parse(file.read_bytes())
    except OSError as error:
        raise ReadersFileError(f"{file}: {error.strerror}; let ONETHING_READERS_FILE name a file that we may read") from None
    except ReadersFileError as error:
        raise ReadersFileError(f"{file}: {error}") from None
