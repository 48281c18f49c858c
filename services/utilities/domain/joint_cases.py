"""The cases of joint installation: which events matter, how they merge, and what a case asks for (CONTRACT §2)."""

from collections.abc import Hashable, Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
import orjson

from services.utilities.domain.registers import Event, State, newest_version
from services.utilities.domain.wire import CaseData, is_sensible
from shared.events import case
from shared.events.case import CaseStep, Operation, Service, Step
from shared.verdicts import MALFORMED, FieldError, Refusal, open_envelope, read_data, require

ITEM: Final = "joint-installation"

ENDING: Final = (Step.WITHDRAWN, Step.VOIDED, Step.RETURNED, Step.NOT_ACCEPTED)
"""Steps after which nobody asks for an installation any more."""

Known = State[CaseData]


def subject_of(source: str, case_no: str) -> str:
    """``{source}/{case_no}``: a case is known by both."""
    return f"{source}/{case_no}"


def may_matter(value: bytes | None) -> bool:
    """Whether the record may be of a joint installation: it names that item, or none. A look at the bytes: nearly all are not."""
    return value is not None and (b'"joint-installation"' in value or b'"item"' not in value)


class CaseKey(NamedTuple):
    """Which case an event is of."""

    source: str
    case_no: str


def key_of(value: bytes | None) -> CaseKey | None:
    """Which case a record is of, without judging it; ``None`` where it says none."""
    try:
        content = orjson.loads(value or b"")
        source, case_no = content["source"], content["subject"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return CaseKey(source, case_no) if isinstance(source, str) and isinstance(case_no, str) else None


def read(value: bytes | None) -> Event[CaseData]:
    """The event of a record of ``case-events``.

    Raises:
        Refusal: it is no case event.
    """
    try:
        item = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        raise Refusal(MALFORMED, FieldError(pointer="", message="not JSON in UTF-8")) from None
    envelope, data = open_envelope(item)
    require(envelope.type == case.TYPE, "invalid", "/type", f"a case event is of type {case.TYPE}")
    body = read_data(CaseStep, envelope, data)
    require(is_sensible(body.recorded_at) and is_sensible(body.occurred_at), "invalid", "/data", "a time before 1900 or after 2199")
    named = {name: value for name in CaseData.__struct_fields__ if name != "source" and (value := getattr(body, name)) is not None}
    return Event(envelope.id, msgspec.convert(named | {"source": envelope.source}, CaseData))


def merge(old: Iterable[Event[CaseData]], new: Iterable[Event[CaseData]]) -> Known:
    """The state after both: the highest ``data_version`` alone counts, and in it each register's winner."""
    return newest_version([*old, *new], _registers)


def _registers(data: CaseData) -> Iterator[Hashable]:
    yield "deleted" if data.operation is Operation.DELETE else (data.step,)
    for name in ("item", "county", "services"):
        if getattr(data, name) is not None:
            yield name


class JointCase(NamedTuple):
    """What a live case of joint installation says. ``opened_at`` is its first step's time, ``None`` where it has none."""

    source: str
    case_no: str
    county: str | None
    services: tuple[Service, ...]
    opened_at: datetime | None
    ended_by: Step | None
    ended_at: datetime | None

    @property
    def subject(self) -> str:
        return subject_of(self.source, self.case_no)


def view(state: Known) -> JointCase | None:
    """The case as it stands; ``None`` where it is deleted, or of another item."""
    item: str | None = None
    county: str | None = None
    services: tuple[Service, ...] = ()
    registers: dict[Step, datetime | None] = {}
    deleted = other = None
    for event in state:
        data = event.data
        item = data.item or item
        county = data.county or county
        services = data.services if data.services is not None else services
        if data.operation is Operation.DELETE:
            deleted = event.mark
        else:
            other = event.mark
            if data.step is not None:
                registers[data.step] = data.occurred_at if data.operation is Operation.UPSERT else None
    if item != ITEM or (deleted is not None and (other is None or deleted >= other)):
        return None
    steps = {step: at for step, at in registers.items() if at is not None}
    ended = min(((steps[step], step) for step in ENDING if step in steps), default=None)
    first = state[0].data
    return JointCase(
        first.source, first.case_no, county, services, min(steps.values(), default=None), ended and ended[1], ended and ended[0]
    )
