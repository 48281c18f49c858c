"""The quick way to read an event: the common one is read by compiled code, any other is left to the exact way.

:func:`read` gives what the exact way (``open_envelope`` and ``read_data``) would make of an item, or ``None``. ``None`` says
nothing about the item: the exact way then finds what is wrong with it, or that it is good. So no rule of the trade and no message
stands here, and tests hold the two ways equal: in what is accepted, and to the byte in what is published.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import msgspec
import orjson
from msgspec import UNSET, Meta, UnsetType

from shared import counties, items
from shared.events.case import Channel, Operation, Service, Step
from shared.events.envelope import EVENT_ID, IDENTIFIER
from shared.events.times import read_day, read_instant
from shared.verdicts import DEEPEST


class Data(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What :class:`shared.events.case.CaseStep` is, of an event that is no ``delete``; its fields in their order.

    The times are strings when they come, and instants in UTC when :func:`read` gives them.
    """

    case_no: Annotated[str, Meta(pattern=IDENTIFIER)]
    item: str | None = None
    county: str | None = None
    step: Step
    outcome: Literal["granted", "denied"] | None = None
    occurred_at: Any = None
    recorded_at: Any = None
    data_version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | UnsetType = UNSET
    operation: Operation | UnsetType = UNSET
    channel: Channel | None = None
    promised_on: str | None = None
    services: list[Service] | None = None


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What :class:`shared.events.envelope.Envelope` is, with its data."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(pattern=EVENT_ID)]
    source: Annotated[str, Meta(min_length=1, max_length=256)]
    type: Annotated[str, Meta(min_length=1, max_length=128)]
    subject: Annotated[str, Meta(min_length=1, max_length=300)]
    time: Any = None
    datacontenttype: str | None = None
    data: Data

    def encoded(self) -> bytes:
        """As ``shared.events.envelope.encode`` writes it."""
        return _encoder.encode(self)


_encoder: Final = msgspec.json.Encoder()


def read(item: object) -> tuple[Event, Mapping[str, Any]] | None:
    """The event that ``item`` is, normalised, and its ``data`` as it was given, if it can be read in the quick way."""
    if type(item) is not dict:
        return None
    try:
        if not _is_plain(item):
            return None
        event = msgspec.convert(item, Event)
        return (event, item["data"]) if _normalise(event, event.data) else None
    except (msgspec.ValidationError, ValueError, TypeError):
        return None


def _is_plain(item: dict[str, Any]) -> bool:
    """Whether ``item`` surely holds no control character and is not nested too deeply.

    Raises:
        TypeError: it is nothing that JSON can hold.
    """
    text = orjson.dumps(item)
    # A control character is written with a backslash, but for U+007F and those that UTF-8 begins with C2.
    return b"\\" not in text and b"\x7f" not in text and b"\xc2" not in text and text.count(b"{") + text.count(b"[") <= DEEPEST


def _normalise(event: Event, data: Data) -> bool:
    """Makes ``event`` what is published; whether it may be.

    Raises:
        ValueError: a code or a time is none.
    """
    if event.time is not None:
        event.time = read_instant(event.time)
    data.recorded_at = event.time if data.recorded_at is None else read_instant(data.recorded_at)
    if data.occurred_at is not None:
        data.occurred_at = read_instant(data.occurred_at)
    if data.promised_on is not None:
        read_day(data.promised_on)
    if data.county is not None:
        data.county = _county(data.county)
    if data.item is not None:
        items.find(data.item)
    if data.services is not None:
        data.services = sorted(set(data.services))
    if data.data_version is UNSET:
        data.data_version = 1
    if data.operation is UNSET:
        data.operation = Operation.UPSERT
    event.datacontenttype = "application/json"
    return (
        data.recorded_at is not None
        and (data.operation is Operation.RETRACT or (data.operation is Operation.UPSERT and data.occurred_at is not None))
        and (data.outcome is None or data.step is Step.COMPLETED)
    )


@lru_cache(maxsize=4096)
def _county(code: str) -> str:
    return counties.normalise(code).code
