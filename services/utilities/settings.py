"""Settings of the utilities service, from the environment (``ONETHING_…``)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, RootModel, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.signing import Key


class Settings(BaseSettings):
    """What the processes need. ``postgres_dsn`` is the service's own role; ``postgres_admin_dsn`` is for migrations only.

    ``companies_file`` is JSON, read once: ``{"<company>": {"secrets": ["whsec_…"]}}``; several secrets while they are
    exchanged.
    """

    model_config = SettingsConfigDict(env_prefix="ONETHING_", extra="ignore")

    kafka: str = "127.0.0.1:9092"
    topic_prefix: str = "onething"
    host: str = "127.0.0.1"
    port: int = 8102
    postgres_dsn: SecretStr
    postgres_admin_dsn: SecretStr | None = None
    companies_file: Path | None = None
    pool_size: int = 8
    batch_records: int = 5000


class _Company(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    secrets: list[SecretStr]


class _Companies(RootModel[dict[str, _Company]]):
    model_config = ConfigDict(hide_input_in_errors=True)


def read_companies(file: Path) -> Mapping[str, Sequence[Key]]:
    """The keys of each company.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has another form; the message holds no secret.
    """
    companies = _Companies.model_validate_json(file.read_bytes()).root
    return {name: tuple(Key(secret.get_secret_value()) for secret in company.secrets) for name, company in companies.items()}
