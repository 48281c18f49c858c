"""Reading the log for the index: what an event is known by, and what is parked. Pure."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import orjson
from pydantic import ValidationError

from shared.events import parked
from shared.events.envelope import Envelope
from shared.events.parked import Parked
from shared.parking import HIDDEN

INTAKE: Final = "intake"
METRICS: Final = "metrics"
"""The service that parks what stands on ``case-events`` and cannot be counted."""

_NUL: Final = b"\\u0000"


class _Head(msgspec.Struct):
    id: str
    source: str


_head: Final = msgspec.json.Decoder(_Head).decode


def event_key(source: str, event_id: str) -> str:
    """What an event is known by in the index: the first 16 bytes of SHA-256 over source, a zero byte and id, in hex."""
    return hashlib.sha256(f"{source}\0{event_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def key_of(value: bytes | None) -> str | None:
    """The key of the event in a record of ``case-events``; ``None`` where there is none to read.

    Runs once an event, so it reads the two attributes and passes over the rest.
    """
    try:
        head = _head(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return event_key(head.source, head.id)


class Unusable(NamedTuple):
    """A parked record as it is indexed. ``event`` is its event's key, where source and id can be read."""

    id: str
    service: str
    origin: str
    reason: str
    errors: list[dict[str, str]]
    sender: str | None
    source: str | None
    event_id: str | None
    case_no: str | None
    event: str | None
    payload: dict[str, Any] | None
    digest: str | None
    length: int
    parked_at: datetime


def read_parked(value: bytes | None, sources: Mapping[str, str]) -> Unusable | None:
    """The parked record in a record of ``parked``; ``None`` where it is none that can be kept.

    ``sources`` gives the source of each sender: a row of a dialect names none.
    """
    try:
        content = orjson.loads(value or b"")
        envelope = Envelope.model_validate(content)
        if envelope.type != parked.TYPE or envelope.time is None or _NUL in orjson.dumps(content):
            return None
        body = Parked.model_validate(content["data"])
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, KeyError, TypeError, ValidationError):
        return None
    payload = body.payload or {}
    data = payload.get("data")
    case_no = _shown(data.get("case_no") if isinstance(data, Mapping) else None) or _shown(payload.get("subject"))
    own = sources.get(body.sender or "") if body.service == INTAKE else None
    source, event_id = _shown(payload.get("source")) or own, _shown(body.event_id) or _shown(payload.get("id"))
    return Unusable(
        envelope.id, body.service, body.origin, body.reason, [error.model_dump() for error in body.errors], body.sender,
        source, event_id, case_no, event_key(source, event_id) if source and event_id else None,
        body.payload, body.digest, body.length, envelope.time,
    )  # fmt: skip


def _shown(value: object) -> str | None:
    return value if isinstance(value, str) and value != HIDDEN else None
