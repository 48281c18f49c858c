"""The audit of the senders' file: who added whom and exchanged which keys, one line of JSON each, beside the file.

The file is changed by command, so the command writes it down: before the change takes place, and on the disk before that.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.audit import COMMAND, Entry, whoever_runs_this
from shared.clock import now

SERVICE = "senders"


def file_of(senders: Path) -> Path:
    """Where the audit of a senders' file stands."""
    return senders.with_name(f"{senders.stem}.audit.jsonl")


def append(senders: Path, action: str, sender: str, detail: Mapping[str, Any]) -> None:
    """Adds an entry, readable by us alone.

    Raises:
        OSError: it cannot be written.
    """
    where = file_of(senders)
    known = read(senders)
    entry = Entry(
        id=known[-1].id + 1 if known else 1, at=now(), service=SERVICE, role=COMMAND, who=whoever_runs_this(),
        action=f"senders.{action}", subject=sender, detail=dict(detail),
    )  # fmt: skip
    with os.fdopen(os.open(where, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as out:
        out.write(entry.model_dump_json().encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())


def read(senders: Path) -> list[Entry]:
    """The entries, the earliest first; none where there is no file. A line that a crash cut short is passed over.

    Raises:
        OSError: it cannot be read.
    """
    try:
        lines = file_of(senders).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError:
            continue
    return entries
