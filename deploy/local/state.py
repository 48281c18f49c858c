"""The state folder: who holds it, its layout, and the secrets made at the first start."""

import base64
import contextlib
import csv
import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ValidationError

from deploy.local.acls import read_users
from deploy.local.parts import ROOT, StackError
from deploy.local.service import METRICS_READER, STORED
from shared.receipts import new_key

LAYOUT: Final = "1"
"""Number of this layout; another one is refused rather than guessed at."""

SENDER: Final = "hebei-onething"
SENDER_SOURCE: Final = "urn:onething:province:hebei"
SANDBOX: Final = "sandbox"
SANDBOX_SOURCE: Final = "urn:onething:sandbox"
SANDBOX_CODES: Final = ROOT / "services/intake/domain/dialects/exchange/examples/codes.csv"
"""The codes of the dialect's examples: so each of them can be tried."""


@dataclass(frozen=True, slots=True)
class State:
    """Where everything is."""

    folder: Path

    @property
    def endpoints(self) -> Path:
        return self.folder / "endpoints.json"

    @property
    def senders(self) -> Path:
        return self.folder / "senders.json"

    @property
    def readers(self) -> Path:
        """Who reads besides the two tokens."""
        return self.folder / "readers.json"

    @property
    def companies(self) -> Path:
        return self.folder / "companies.json"

    @property
    def sandbox_codes(self) -> Path:
        """The sandbox sender's table of codes, beside the senders' file that names it."""
        return self.folder / "sandbox-codes.csv"

    @property
    def receipt_key(self) -> Path:
        return self.folder / "receipt.pem"

    @property
    def digest_key(self) -> Path:
        return self.folder / "digest.key"

    @property
    def kafka(self) -> Path:
        return self.folder / "kafka"

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def registry_stamp(self) -> Path:
        return self.folder / "registry.sha256"

    def log(self, part: str) -> Path:
        """The log of one part; its name's blanks become dashes."""
        return self.folder / "logs" / f"{part.replace(' ', '-')}.log"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[State]:
    """Holds the state folder for this process alone, making it when it is new; the kernel lets go when we die.

    Raises:
        StackError: it cannot be written, is held by another start, is of another layout, or holds something else.
    """
    _refuse_foreign(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Others may pass through, not look: PostgreSQL's user has its folder below.
        folder.chmod(0o711)
        (folder / "layout").write_text(LAYOUT)  # first of all, so that no start leaves a folder that looks foreign
        (folder / "logs").mkdir(mode=0o700, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StackError(
            f"the state folder {folder} cannot be written ({error.strerror}): make it writable, or set ONETHING_STATE_DIR"
            " to another."
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 32, 0).decode().strip() or "unknown"
            raise StackError(
                f"the stack already runs on {folder} (pid {pid}): use it, stop it with `kill {pid}`,"
                " or set ONETHING_STATE_DIR and ONETHING_PORT_BASE for a second one."
            ) from None
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        state = State(folder)
        state.endpoints.unlink(missing_ok=True)  # of a start that was killed
        try:
            yield state
        finally:
            state.endpoints.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _refuse_foreign(folder: Path) -> None:
    try:
        if not folder.exists() or not any(folder.iterdir()):
            return
        layout = (folder / "layout").read_text().strip()
    except (NotADirectoryError, FileNotFoundError):
        raise StackError(
            f"{folder} is not a state folder of this stack: set ONETHING_STATE_DIR to a new or empty folder, or remove this one."
        ) from None
    except OSError as error:
        raise StackError(
            f"the state folder {folder} cannot be read ({error.strerror}): set ONETHING_STATE_DIR to one of your own."
        ) from None
    if layout != LAYOUT:
        raise StackError(f"{folder} has layout {layout}, and this version reads {LAYOUT}: remove the folder to begin anew.")


class Secrets(BaseModel):
    """All secrets of one state folder. ``postgres`` is by role, ``companies`` by company id, ``kafka`` by user of its file."""

    postgres: dict[str, str]
    sender: str
    companies: dict[str, str]
    reader_token: str
    operator_token: str
    sandbox: str = ""
    kafka: dict[str, str] = {}

    @classmethod
    def of(cls, state: State, companies: Iterable[str]) -> Self:
        """The secrets of ``state``, made now where one is missing; what the services read is written beside them.

        Raises:
            StackError: the file is broken, or gone while the database that knows its passwords is there.
        """
        file = state.folder / "secrets.json"
        if file.exists():
            try:
                kept = cls.model_validate_json(file.read_bytes())
            except ValidationError:
                raise StackError(f"{file} is broken: remove the state folder to begin anew.") from None
        elif (state.postgres / "complete").exists():
            raise StackError(f"{file} is missing, and the database cannot be opened without it: remove the state folder.")
        else:
            kept = cls(
                postgres={role: secrets.token_urlsafe(24) for role in ("admin", *STORED)},
                sender=webhook_secret(),
                companies={},
                reader_token=secrets.token_urlsafe(24),
                operator_token=secrets.token_urlsafe(24),
            )
        added = {company: webhook_secret() for company in companies if company not in kept.companies}
        # A folder of an earlier version has no password of a role that came later.
        roles = {role: secrets.token_urlsafe(24) for role in (*STORED, METRICS_READER) if role not in kept.postgres}
        # Senders are added and their keys exchanged by command: the file rules, and the sample sender is added where it is not.
        senders = read_json(state.senders) or {}
        sample = senders.setdefault(SENDER, {"source": SENDER_SOURCE, "secrets": [kept.sender]})
        sandbox = senders.setdefault(SANDBOX, _sandbox())
        write_private_bytes(state.sandbox_codes, SANDBOX_CODES.read_bytes())
        changed = {
            "companies": kept.companies | added,
            "postgres": kept.postgres | roles,
            "kafka": {user: kept.kafka.get(user) or secrets.token_urlsafe(24) for user in read_users()},
            "sender": sample["secrets"][0],
            "sandbox": sandbox["secrets"][0],
        }
        kept = kept.model_copy(update=changed)
        write_private(file, kept.model_dump())
        write_private(state.senders, senders)
        write_private(state.companies, {company: {"secrets": [secret]} for company, secret in kept.companies.items()})
        if not state.readers.exists():
            write_private(state.readers, {})
        if not state.receipt_key.exists():
            write_private_bytes(state.receipt_key, new_key())
        if not state.digest_key.exists():
            write_private_bytes(state.digest_key, secrets.token_hex(32).encode())
        return kept


def _sandbox() -> dict[str, Any]:
    """Whose events and rows are checked and answered like everybody's, and never stored: for those who write a sender."""
    return {
        "source": SANDBOX_SOURCE,
        "secrets": [webhook_secret()],
        "sandbox": True,
        "dialect": "exchange",
        "codes": "sandbox-codes.csv",
    }


def read_json(file: Path) -> dict[str, Any] | None:
    """The object in a file; ``None`` where there is no file.

    Raises:
        StackError: the file is broken.
    """
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StackError(f"{file} cannot be read ({type(error).__name__}): mend it, or remove it to have it made anew.") from None
    if not isinstance(content, dict):
        raise StackError(f"{file} is no JSON object: mend it, or remove it to have it made anew.")
    return content


def webhook_secret() -> str:
    """A new Standard Webhooks secret of 32 random bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def registry_companies(registry: Path) -> list[str]:
    """The company ids of a registry in CSV, each once.

    Raises:
        StackError: the file has no column ``company``.
    """
    with registry.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines)
        if "company" not in (rows.fieldnames or ()):
            raise StackError(f"{registry} has no column named company: its first line names the columns.")
        return sorted({row["company"] for row in rows if row["company"]})


def write_private(file: Path, content: dict[str, Any]) -> None:
    """Writes JSON that only we may read, whole or not at all."""
    write_private_bytes(file, json.dumps(content, ensure_ascii=False, indent=1).encode())


def write_private_bytes(file: Path, content: bytes) -> None:
    """Writes what only we may read, whole or not at all."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
