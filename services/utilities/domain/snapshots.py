"""Snapshots as they are published, and the versions that order them."""

import hashlib
from datetime import datetime

from shared.events.envelope import Envelope, encode
from shared.events.progress import TYPE, Snapshot


def next_version(previous: int, now: datetime) -> int:
    """Greater than ``previous``, and than any given before the database was restored or rebuilt: by the clock."""
    return max(previous + 1, int(now.timestamp() * 1000))


def encode_snapshot(snapshot: Snapshot, now: datetime) -> bytes:
    """The snapshot's CloudEvent. Sent again, it has the same id."""
    digest = hashlib.sha256(snapshot.key.encode()).hexdigest()[:32]
    envelope = Envelope(
        specversion="1.0",
        id=f"{digest}-{snapshot.version}",
        source="urn:onething:utilities",
        type=TYPE,
        subject=snapshot.key,
        time=now,
    )
    return encode(envelope, snapshot)
