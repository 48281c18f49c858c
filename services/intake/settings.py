"""Settings of the intake service, from the environment (``ONETHING_…``), and the file of senders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.intake.domain import Sender
from shared.events.envelope import IDENTIFIER
from shared.signing import Key


class Settings(BaseSettings):
    """What both processes need.

    ``senders_file`` is JSON, read once at start: ``{"<sender>": {"source": "urn:…", "secrets": ["whsec_…"]}}``; several
    secrets while they are exchanged. ``most_unusable`` is the share of a batch of ``province-push`` above which the
    worker halts instead of parking it; 1 lets everything be parked.
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


def _key(secret: SecretStr) -> Key:
    return Key(secret.get_secret_value())


class _Sender(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    source: str = Field(pattern=r"^[!-~]{1,256}$")
    secrets: list[Annotated[SecretStr, AfterValidator(_key)]] = Field(min_length=1)


class _Senders(RootModel[dict[Annotated[str, Field(pattern=IDENTIFIER)], _Sender]]):
    model_config = ConfigDict(hide_input_in_errors=True)

    root: dict[Annotated[str, Field(pattern=IDENTIFIER)], _Sender] = Field(min_length=1)


def _place(location: tuple[int | str, ...]) -> str:
    return "/".join(str(part) for part in location if part != "[key]") or "the whole"


def read_senders(file: Path) -> Mapping[str, Sender]:
    """The senders by id.

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
    # The validator has made each secret a key; the type checker sees the declared type only.
    return {name: Sender(name, sender.source, tuple(sender.secrets)) for name, sender in senders.items()}  # type: ignore[arg-type]
