"""Parking: what could not be used, made durable with its reason, without people's data."""

import hashlib
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from shared.events import parked
from shared.events.envelope import Envelope, encode
from shared.verdicts import Rejected

HIDDEN: Final = "«removed»"

PERSONAL: Final = re.compile(
    r"(?<!\d)\d{17}[\dXx](?!\d)"  # resident identity number, 18 characters (GB 11643)
    r"|(?<!\d)\d{15}(?!\d)"  # its older form of 15 digits
    r"|(?<!\d)1[3-9]\d-?\d{4}-?\d{4}(?!\d)"  # mobile phone
    r"|(?<!\d)0\d{2,3}-\d{7,8}(?!\d)"  # telephone
)
"""What a kept value may not look like."""

PLAIN: Final = re.compile(r"[A-Za-z0-9._:/|+-]{1,256}")
"""What a kept value looks like: an identifier, a code, a URN, a time. Names and addresses in any script do not."""

CONTEXT: Final = ("specversion", "id", "source", "type", "subject", "time")


def redact(item: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """The envelope and those fields of ``data`` that the wire model names, each value that may be a person's removed.

    Identifiers of the known forms are kept as they are: without them nobody could find what to mend.
    """
    kept: dict[str, Any] = {name: _value(item[name]) for name in CONTEXT if name in item}
    data = item.get("data")
    if isinstance(data, Mapping):
        kept["data"] = {name: _value(data[name]) for name in data if name in fields}
    return kept


def _value(value: Any) -> Any:
    return [_scalar(inner) for inner in value[:20]] if isinstance(value, list) else _scalar(value)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    text = str(value) if isinstance(value, int | str) else ""
    return value if PLAIN.fullmatch(text) and not PERSONAL.search(text) else HIDDEN


def parked_event(
    *,
    service: str,
    origin: str,
    verdict: Rejected,
    raw: bytes,
    item: object,
    fields: Collection[str],
    sender: str | None,
    at: datetime,
) -> bytes:
    """The parked record's value; its key is ``origin``. ``fields`` are the ``data`` fields that may be shown.

    What is no object is kept as digest and length only.
    """
    body = parked.Parked(
        service=service,
        origin=origin,
        reason=verdict.reason,
        errors=verdict.errors,
        sender=sender,
        event_id=_value(verdict.event_id),
        payload=redact(item, fields) if isinstance(item, Mapping) else None,
        digest="sha256:" + hashlib.sha256(raw).hexdigest(),
        length=len(raw),
    )
    digest = hashlib.sha256(origin.encode()).hexdigest()[:32]
    envelope = Envelope(specversion="1.0", id=digest, source=f"urn:onething:{service}", type=parked.TYPE, subject=origin, time=at)
    return encode(envelope, body)
