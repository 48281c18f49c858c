"""Reading the topics' records: what intake and utilities published, checked only as far as the database needs it.

Intake validated every event; a record that does not read here was written by something else, and is parked.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import msgspec
import orjson

from services.metrics.domain.cases import CaseEvent
from shared import counties, items
from shared.events import case, progress
from shared.events.envelope import EVENT_ID, IDENTIFIER
from shared.events.progress import Snapshot
from shared.verdicts import FieldError, Rejected

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STEPS: Final = {step.value: step.value for step in case.Step}
_OPERATIONS: Final = {operation.value: operation.value for operation in case.Operation}
_CHANNELS: Final[Mapping[str | None, str | None]] = {None: None, **{channel.value: channel.value for channel in case.Channel}}
_OUTCOMES: Final[Mapping[str | None, str | None]] = {None: None, "granted": "granted", "denied": "denied"}
_COUNTIES: Final[Mapping[str | None, str | None]] = {None: None, **{code: code for code in counties.BY_CODE}}
_ITEMS: Final[Mapping[str | None, str | None]] = {None: None, **{code: code for code in items.BY_CODE}}
# fullmatch: "$" alone would let a line's end through.
_case_no: Final = re.compile(IDENTIFIER).fullmatch
_event_id: Final = re.compile(EVENT_ID).fullmatch
_source: Final = lru_cache(1000)(re.compile(r"[!-~]{1,256}").fullmatch)
_date: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_FIRST_DAY: Final = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH).days
_LAST_DAY: Final = (datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH).days
_NUL: Final = b"\\u0000"


class Unreadable(Exception):
    """The record is none that this service can count; ``verdict`` says why."""

    def __init__(self, message: str, pointer: str = "", item: Any = None) -> None:
        super().__init__(message)
        self.item = item
        self.verdict = Rejected(None, "malformed", (FieldError(pointer=pointer, message=message),))


class CaseRecord(NamedTuple):
    """One event on ``case-events``, with the case it belongs to."""

    source: str
    case_no: str
    version: int
    event: CaseEvent


def read_case(value: bytes | None) -> CaseRecord:
    """The event in a record of ``case-events``.

    Runs once an event. The common one is read by a compiled decoder; all others, and all that is wrong, by
    :func:`read_case_exactly`, which alone has messages. Tests hold the two equal.

    Raises:
        Unreadable: not a case event as intake publishes them.
    """
    return _read_common(value) or read_case_exactly(value)


# Literals of what is allowed: the decoder knows them, and gives the same text objects again and again.
_Step = Literal[tuple(_STEPS)]  # type: ignore[valid-type]
_County = Literal[tuple(counties.BY_CODE)]  # type: ignore[valid-type]
_Item = Literal[tuple(items.BY_CODE)]  # type: ignore[valid-type]
_Channel = Literal[tuple(channel.value for channel in case.Channel)]  # type: ignore[valid-type]


class _CommonData(msgspec.Struct, gc=False):
    """The data of an upsert without services."""

    case_no: str
    step: _Step  # type: ignore[valid-type]
    recorded_at: str
    occurred_at: str
    county: _County | None = None  # type: ignore[valid-type]
    item: _Item | None = None  # type: ignore[valid-type]
    channel: _Channel | None = None  # type: ignore[valid-type]
    outcome: Literal["granted", "denied"] | None = None
    promised_on: str | None = None
    services: None = None
    data_version: int = 1
    operation: Literal["upsert"] = "upsert"


class _CommonEvent(msgspec.Struct, gc=False):
    id: str
    source: str
    type: Literal["cn.onething.case.step.v1"]
    data: _CommonData


_decode_common: Final = msgspec.json.Decoder(_CommonEvent).decode


def _read_common(value: bytes | None) -> CaseRecord | None:
    """The event, where it is one as nearly all are; ``None``: look closely."""
    # The decoder steps over what it is not asked for: only in plain text without escapes can nothing be hidden there.
    if value is None or not value.isascii() or b"\\" in value:
        return None
    try:
        event = _decode_common(value)
        data = event.data
        if not (_source(event.source) and _case_no(data.case_no) and _event_id(event.id) and 1 <= data.data_version < 2**31):
            return None
        if data.promised_on is not None and not _is_day(data.promised_on):
            return None
        return CaseRecord(
            event.source,
            data.case_no,
            data.data_version,
            CaseEvent(
                _microseconds(data.recorded_at), event.id, "upsert", data.step, _microseconds(data.occurred_at),
                data.county, data.item, data.channel, data.outcome, data.promised_on,
            ),
        )  # fmt: skip
    except (msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError):
        return None


def read_case_exactly(value: bytes | None) -> CaseRecord:
    """As :func:`read_case`: table look-ups and regular expressions instead of a model, which would cost ten times as much.

    Raises:
        Unreadable: not a case event as intake publishes them.
    """
    content: Any = None
    try:
        content = orjson.loads(value or b"")
        data = content["data"]
        if content["type"] != case.TYPE:
            raise Unreadable("the type is not that of a case event", "/type", content)
        source = content["source"]
        case_no = data["case_no"]
        event_id = content["id"]
        version = data.get("data_version", 1)
        if not (_source(source) and _case_no(case_no) and _event_id(event_id)):
            raise Unreadable("source, id or case_no has another form", "", content)
        if type(version) is not int or not 1 <= version < 2**31:
            raise Unreadable("data_version is no integer of 1 or more", "/data/data_version", content)
        operation = _OPERATIONS[data.get("operation", "upsert")]
        occurred_at = data.get("occurred_at")
        promised_on = data.get("promised_on")
        if promised_on is not None and not _is_day(promised_on):
            raise Unreadable("promised_on is no date", "/data/promised_on", content)
        services = data.get("services")
        event = CaseEvent(
            _microseconds(data["recorded_at"]),
            event_id,
            operation,
            None if operation == "delete" else _STEPS[data["step"]],
            None if occurred_at is None else _microseconds(occurred_at),
            _COUNTIES[data.get("county")],
            _ITEMS[data.get("item")],
            _CHANNELS[data.get("channel")],
            _OUTCOMES[data.get("outcome")],
            promised_on,
            None if services is None else tuple(map(str, services)),
        )
        if operation == "upsert" and occurred_at is None:
            raise Unreadable("occurred_at is missing", "/data/occurred_at", content)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Unreadable(f"not a case event: {type(error).__name__}", "", content) from None
    return CaseRecord(source, case_no, version, event)


def read_snapshot(value: bytes | None) -> Snapshot:
    """The snapshot in a record of ``progress``.

    Raises:
        Unreadable: not a snapshot.
    """
    content: Any = None
    try:
        content = orjson.loads(value or b"")
        if content["type"] != progress.TYPE:
            raise Unreadable("the type is not that of a snapshot", "/type", content)
        snapshot = Snapshot.model_validate(content["data"])
        if snapshot.version >= 2**63 or _NUL in orjson.dumps([snapshot.kind, snapshot.subject, snapshot.state]):
            raise Unreadable("the version is too large, or a text holds NUL: PostgreSQL cannot keep it", "/data", content)
        return snapshot
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"not a snapshot: {type(error).__name__}", "", content) from None


@lru_cache(10_000)  # few days are named very often
def _is_day(text: str) -> bool:
    try:
        return _date(text) is not None and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _microseconds(text: str) -> int:
    since = datetime.fromisoformat(text) - _EPOCH
    if not _FIRST_DAY <= since.days < _LAST_DAY:
        raise ValueError("a year that no case has")  # its business day may be no date at all
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
