"""Settings of the metrics service, from the environment (``ONETHING_…``)."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.kafka import KafkaSettings
from shared.tracing import TracingSettings


class Settings(KafkaSettings, TracingSettings, BaseSettings):
    """What both processes need. ``postgres_dsn`` is the service's own role; ``postgres_admin_dsn`` is for migrations only."""

    model_config = SettingsConfigDict(env_prefix="ONETHING_", extra="ignore")

    topic_prefix: str = "onething"
    group: str = "onething-metrics"
    """Consumer group. The offsets live in the database, so a worker under a fresh name goes on where the last one was, at once."""
    host: str = "127.0.0.1"
    port: int = 8103
    postgres_dsn: SecretStr
    postgres_admin_dsn: SecretStr | None = None
    reader_token: SecretStr = SecretStr("")
    operator_token: SecretStr = SecretStr("")
    page_url: str = ""
    """Where people reach the page; with ``https://`` its cookie goes no other way."""
    pool_size: int = 8
    batch_records: int = 6_000
    most_unusable: float = Field(0.5, ge=0, le=1)
    """The share of a batch above which the worker halts instead of parking it; 1 lets everything be parked."""
    most_unusable_in_a_row: int = Field(200, ge=0)
    """How many unusable records one after another are too many; 0 is no limit."""
    digest_key_file: Path | None = None
    """Keys the digest of what is parked."""
    consistency_seconds: float = Field(900, ge=0)
    """How often the worker recounts the cases against the counters; 0 turns it off."""
