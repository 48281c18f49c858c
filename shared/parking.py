"""Parking: what could not be used, made durable with its reason, without people's data."""

import hashlib
import re
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Self

from cryptography.hazmat.primitives.hashes import SM3
from cryptography.hazmat.primitives.hmac import HMAC

from shared import meters, people
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
FEWEST_KEY_BYTES: Final = 16
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


def parked_id(origin: str) -> str:
    """The id of the record that is parked for ``origin``."""
    return hashlib.sha256(origin.encode()).hexdigest()[:32]


def _payload(item: object, fields: Collection[str], verdict: Rejected) -> dict[str, Any] | None:
    if verdict.kept is not None:
        return redact_row(verdict.kept)
    return redact(item, fields) if isinstance(item, Mapping) else None


class DigestKeyError(Exception):
    """The key of the digests cannot be used; the message says what to mend."""


class Digest:
    """A keyed digest (HMAC-SM3) of what was parked: whoever has the key can tell whether he holds the same bytes.

    A plain digest of a short record is undone by trying every identity number. So without a key that is set, one is made that
    nobody learns and that ends with the process: its digests tell whether two records of its time are the same.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    @classmethod
    def of_file(cls, file: Path | None) -> Self:
        """The digest with the key in ``file``, at least 16 bytes, blanks around it aside; one of the process's own without a file.

        Raises:
            DigestKeyError: the file cannot be read, or is too short.
        """
        if file is None:
            return cls()
        try:
            key = file.read_bytes().strip()
        except OSError as error:
            raise DigestKeyError(
                f"{file}: {error.strerror}; let ONETHING_DIGEST_KEY_FILE name a file that we may read (`openssl rand -hex 32`)"
            ) from None
        if len(key) < FEWEST_KEY_BYTES:
            raise DigestKeyError(f"{file} has {len(key)} bytes: make one by `openssl rand -hex 32`")
        return cls(key)

    def __call__(self, raw: bytes) -> str:
        """``hmac-sm3:<hex>``."""
        made = HMAC(self._key, SM3())
        made.update(raw)
        return "hmac-sm3:" + made.finalize().hex()

    def __repr__(self) -> str:
        return "Digest(…)"


_OF_THE_PROCESS: Final = Digest()


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
    digest: Digest = _OF_THE_PROCESS,
) -> bytes:
    """The parked record's value; its key is ``origin``. ``fields`` are the ``data`` fields that may be shown.

    What is no object is kept as ``digest`` and length only.
    """
    body = parked.Parked(
        service=service,
        origin=origin,
        reason=verdict.reason,
        errors=verdict.errors,
        sender=sender,
        event_id=_identifier(verdict.event_id, people.said_on(item) if isinstance(item, Mapping) else None),
        payload=_payload(item, fields, verdict),
        digest=digest(raw),
        length=len(raw),
    )
    envelope = Envelope(
        specversion="1.0", id=parked_id(origin), source=f"urn:onething:{service}", type=parked.TYPE, subject=origin, time=at
    )
    return encode(envelope, body)


def count_parked(service: str, reasons: Iterable[str]) -> None:
    """Counts records that were parked by ``service``, for Prometheus; call once they are durable."""
    for reason, number in Counter(reasons).items():
        meters.PARKED.labels(service, reason).inc(number)
