"""Snapshots as they are published, and the versions that order them."""

import hashlib
from datetime import datetime
from typing import NamedTuple

import orjson

from shared.clock import rfc3339
from shared.events.progress import TYPE, Kind


class Told(NamedTuple):
    """What a :class:`shared.events.progress.Snapshot` says. ``state`` is JSON already."""

    kind: Kind
    subject: str
    version: int
    deleted: bool
    state: str

    @property
    def key(self) -> str:
        return f"{self.kind}|{self.subject}"


def next_version(previous: int, now: datetime) -> int:
    """Greater than ``previous``, and than any given before the database was restored or rebuilt: by the clock."""
    return max(previous + 1, int(now.timestamp() * 1000))


def encode_snapshot(told: Told, now: datetime) -> bytes:
    """The snapshot's CloudEvent. Sent again, it has the same id."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{_digest(told.key)}-{told.version}",
            "source": "urn:onething:utilities",
            "type": TYPE,
            "subject": told.key,
            "time": rfc3339(now),
            "datacontenttype": "application/json",
            "data": {
                "kind": told.kind,
                "subject": told.subject,
                "version": told.version,
                "deleted": told.deleted,
                "state": orjson.Fragment(told.state),
            },
        }
    )


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]
