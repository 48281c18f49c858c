"""Events as they take part in merging, and reading them from the topics.

The models of ``shared.events`` judge what is pushed. What stands on a topic was judged and is in normal form, so it is read
here by compiled decoders, a tenth of the cost; whatever they do not take as it stands is read by the models, which decide.
"""

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Annotated, Final

import msgspec

from shared import counties
from shared.events.case import Operation, Service, Step
from shared.events.utility import (
    INSTALLATION_TYPE,
    PRESENCE_TYPE,
    WINDOW_TYPE,
    Business,
    InstallationStep,
    Level,
)

_Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
_EventId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,128}\Z")]
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
_Text = Annotated[str, msgspec.Meta(max_length=200)]


class InstallationData(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """:class:`shared.events.utility.Installation`."""

    installation_no: _Id
    company: _Id
    recorded_at: _Instant
    case_no: _Id | None = None
    case_source: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    county: str | None = None
    service: Service | None = None
    step: InstallationStep | None = None
    occurred_at: _Instant | None = None
    data_version: _Version = 1
    operation: Operation = Operation.UPSERT
    reason: _Text | None = None
    customer_kind: str | None = None


class PresenceData(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """:class:`shared.events.utility.Presence`."""

    county: str
    company: _Id
    service: Service
    level: Level
    effective_on: date
    recorded_at: _Instant
    handles: tuple[Business, ...] = ()
    evidence: _Text | None = None


class WindowData(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """:class:`shared.events.utility.Window`."""

    county: str
    company: _Id
    service: Service
    month: str
    recorded_at: _Instant
    public_service_handled: int | None = None
    operation: Operation = Operation.UPSERT


class CaseData(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What a joint installation needs of :class:`shared.events.case.CaseStep`, with the event's source."""

    source: str
    case_no: _Id
    recorded_at: _Instant
    item: str | None = None
    county: str | None = None
    step: Step | None = None
    occurred_at: _Instant | None = None
    data_version: _Version = 1
    operation: Operation = Operation.UPSERT
    services: tuple[Service, ...] | None = None


Reported = InstallationData | PresenceData | WindowData
"""What companies report."""


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    id: _EventId
    source: str
    type: str
    subject: str
    data: msgspec.Raw


_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_installation: Final = msgspec.json.Decoder(InstallationData).decode
_presence: Final = msgspec.json.Decoder(PresenceData).decode
_window: Final = msgspec.json.Decoder(WindowData).decode

_UNUSUAL: Final = re.compile(rb"\\|\x7f|\xc2[\x80-\x9f]|\.[0-9]{7}")
"""What may be, or hide, a control character, or is finer than a microsecond: the models look closer."""

_KINDS: Final = frozenset({None, "resident", "low_voltage", "high_voltage", "high_voltage_two_feeds", "other"})
_REPEATING: Final = frozenset({InstallationStep.PAUSED, InstallationStep.RESUMED})
_EARLIEST: Final = datetime.fromisoformat("1900-01-01T00:00:00Z")
_LATEST: Final = datetime.fromisoformat("2200-01-01T00:00:00Z")
_month: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])").fullmatch


@lru_cache(maxsize=4096)
def source_of(company: str) -> str:
    """The ``source`` of the company's events (CONTRACT §2)."""
    return f"urn:onething:company:{company}"


def is_sensible(instant: datetime | None) -> bool:
    """Whether a calendar can count with it; anything else is a slip of the sender's."""
    return instant is None or _EARLIEST <= instant < _LATEST


def read_quickly(value: bytes | None) -> tuple[str, Reported] | None:
    """The event of a record that is wholly in normal form; ``None``: let the models read it."""
    if value is None or _UNUSUAL.search(value):
        return None
    try:
        envelope = _envelope(value)
        if envelope.type == INSTALLATION_TYPE:
            body: Reported = _installation(envelope.data)
            fits = _is_installation(envelope, body)  # type: ignore[arg-type]
        elif envelope.type == PRESENCE_TYPE:
            body = _presence(envelope.data)
            fits = (
                body.county in counties.BY_CODE
                and envelope.subject == f"{body.county}/{body.company}/{body.service}"
                and body.evidence is None
                and list(body.handles) == sorted(set(body.handles))
            )
        elif envelope.type == WINDOW_TYPE:
            body = _window(envelope.data)
            fits = _is_window(envelope, body)
        else:
            return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not fits or envelope.source != source_of(body.company) or not _is_normal(body.recorded_at):
        return None
    return envelope.id, body


def _is_normal(instant: datetime) -> bool:
    return instant.tzinfo is UTC and is_sensible(instant)


def _is_installation(envelope: _Envelope, body: InstallationData) -> bool:
    return (
        envelope.subject == body.installation_no
        and (body.county is None or body.county in counties.BY_CODE)
        and body.customer_kind in _KINDS
        and body.reason is None
        and (body.step is not None or body.operation is Operation.DELETE)
        and (body.occurred_at is not None or (body.operation is not Operation.UPSERT and body.step not in _REPEATING))
        and (body.occurred_at is None or _is_normal(body.occurred_at))
    )


def _is_window(envelope: _Envelope, body: WindowData) -> bool:
    return (
        body.county in counties.BY_CODE
        and _month(body.month) is not None
        and envelope.subject == f"{body.county}/{body.company}/{body.service}/{body.month}"
        and (body.public_service_handled is not None or body.operation is not Operation.UPSERT)
        and 0 <= (body.public_service_handled or 0) < 2**31
    )
