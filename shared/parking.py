"""Parking: what could not be used, made durable with its reason, without people's data."""

import hashlib
import re
from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any, Final

from shared import people
from shared.events import parked
from shared.events.envelope import Envelope, encode
from shared.people import PERSONAL
from shared.verdicts import Rejected

HIDDEN: Final = "«removed»"

PLAIN: Final = re.compile(r"[A-Za-z0-9._:/|+-]{1,256}")
"""What a kept value looks like: an identifier, a code, a URN, a time. Names and addresses in any script do not."""

LOCAL_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,6})?)?")
"""A time as rows of a database bear it."""

CONTEXT: Final = ("specversion", "id", "source", "type", "subject", "time")
IDENTIFIERS: Final = frozenset({"id", "subject", "case_no", "installation_no"})


def redact(item: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """The envelope and those fields of ``data`` that the wire model names, each value that may be a person's removed.

    Identifiers are kept unless they are somebody's number: without them nobody could find what to mend.
    """
    day = people.said_on(item)

    def kept_of(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        return {
            name: _identifier(values[name], day) if name in IDENTIFIERS else _value(values[name])
            for name in values
            if name in names
        }

    kept = kept_of(item, CONTEXT)
    data = item.get("data")
    if isinstance(data, Mapping):
        kept["data"] = kept_of(data, fields)
    return kept


def redact_row(kept: Mapping[str, Any]) -> dict[str, Any]:
    """A row ``{"table", "row"}`` whose columns are codes, numbers of cases and times; each value of another form removed."""
    row = kept.get("row")
    if not isinstance(row, Mapping):
        return {}
    cells = {
        name: value if isinstance(value, str) and LOCAL_TIME.fullmatch(value) else _identifier(value, None)
        for name, value in row.items()
    }
    return {"table": _identifier(kept.get("table"), None), "row": cells}


def _value(value: Any) -> Any:
    return [_scalar(inner) for inner in value[:20]] if isinstance(value, list) else _scalar(value)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    text = str(value) if isinstance(value, int | str) else ""
    return value if PLAIN.fullmatch(text) and not PERSONAL.search(text) else HIDDEN


def _identifier(value: Any, day: date | None) -> Any:
    if not isinstance(value, str):
        return _value(value)
    return value if PLAIN.fullmatch(value) and not people.may_be_somebodys(value, day) else HIDDEN


def _payload(item: object, fields: Collection[str], verdict: Rejected) -> dict[str, Any] | None:
    if verdict.kept is not None:
        return redact_row(verdict.kept)
    return redact(item, fields) if isinstance(item, Mapping) else None


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
        event_id=_identifier(verdict.event_id, people.said_on(item) if isinstance(item, Mapping) else None),
        payload=_payload(item, fields, verdict),
        digest="sha256:" + hashlib.sha256(raw).hexdigest(),
        length=len(raw),
    )
    digest = hashlib.sha256(origin.encode()).hexdigest()[:32]
    envelope = Envelope(specversion="1.0", id=digest, source=f"urn:onething:{service}", type=parked.TYPE, subject=origin, time=at)
    return encode(envelope, body)
