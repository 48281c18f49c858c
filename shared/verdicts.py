"""The judgement of one pushed event: accepted as it will be published, or rejected with pointers. Pure: no I/O."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shared import people
from shared.clock import business_day
from shared.events.envelope import CONTROL_CHARACTER, Envelope, WireModel

MOST_AHEAD: Final = timedelta(minutes=10)
"""How far ahead of our clock a sender's time may be (CONTRACT §2)."""

MOST_ERRORS: Final = 20
"""How many places one answer names."""

DEEPEST: Final = 16
"""How deeply a value may be nested; ours need three levels."""

_FIELD_NAME: Final = re.compile(r"[a-z_]{1,32}")

NOT_ENTITLED: Final = "not-entitled"
MALFORMED: Final = "malformed"
PERSONAL_DATA: Final = "personal-data"
TOO_LARGE: Final = "too-large"

Data = TypeVar("Data", bound=WireModel)


class FieldError(BaseModel):
    """What is wrong at one place. ``pointer`` is a JSON Pointer (RFC 6901) into the item, e.g. ``/data/county``.

    ``message`` never repeats the value: it may be somebody's data.
    """

    model_config = ConfigDict(frozen=True)

    pointer: str
    message: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event to publish: ``value`` is its normalised CloudEvent. ``ignored`` counts unknown fields left out.

    A row of a dialect may tell several events of one case: ``before`` are those that go before ``value``. It may also tell
    nothing that is counted: then ``value`` is empty, and nothing is published.
    """

    event_id: str
    key: str
    value: bytes
    ignored: int = 0
    before: tuple[bytes, ...] = ()

    def values(self) -> tuple[bytes, ...]:
        """All that is to be published, in its order."""
        return (*self.before, self.value) if self.value else ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that cannot be used. ``event_id`` is ``None`` where the item has no readable one.

    ``kept`` is what may be parked in the item's place, where it is no event: of a dialect's row the columns that are read.
    """

    event_id: str | None
    reason: str
    errors: tuple[FieldError, ...] = field(default=())
    kept: Mapping[str, Any] | None = None


Verdict = Accepted | Rejected


class Refusal(Exception):
    """Raised while an item is read; becomes a :class:`Rejected`."""

    def __init__(self, reason: str, *errors: FieldError) -> None:
        super().__init__(reason)
        self.reason = reason
        self.errors = errors


def refuse_large(verdicts: Sequence[Verdict], values: Collection[bytes]) -> list[Verdict]:
    """``verdicts`` with those rejected whose message is one of ``values``: Kafka does not take it, however often it is sent."""
    errors = (FieldError(pointer="", message="makes a message larger than Kafka takes: send less in it"),)
    return [
        Rejected(verdict.event_id, TOO_LARGE, errors)
        if isinstance(verdict, Accepted) and any(value in values for value in verdict.values())
        else verdict
        for verdict in verdicts
    ]


def event_id_of(item: object) -> str | None:
    """The item's id if it has one that may be repeated in an answer: readable, and nobody's number."""
    if isinstance(item, Mapping):
        given = item.get("id")
        if isinstance(given, str) and given.isascii() and given.isprintable() and len(given) <= 128:
            return None if people.is_somebodys(given, people.said_on(item)) else given
    return None


def open_envelope(item: object) -> tuple[Envelope, Mapping[str, Any]]:
    """The context attributes and the ``data`` object of one item.

    Raises:
        Refusal: ``malformed``; it is no object, lacks an attribute, or holds a control character.
    """
    if not isinstance(item, Mapping):
        raise Refusal(MALFORMED, FieldError(pointer="", message="an event is a JSON object"))
    unreadable = tuple(islice(_unreadable(item, ""), MOST_ERRORS))
    if unreadable:
        raise Refusal(MALFORMED, *unreadable)
    try:
        envelope = Envelope.model_validate(item)
    except ValidationError as error:
        raise Refusal(MALFORMED, *_field_errors(error, "")) from None
    data = item.get("data")
    if not isinstance(data, Mapping):
        raise Refusal(MALFORMED, FieldError(pointer="/data", message="data is a JSON object"))
    return envelope, data


def require(condition: bool, reason: str, pointer: str, message: str) -> None:
    """Raises a :class:`Refusal` unless ``condition`` holds."""
    if not condition:
        raise Refusal(reason, FieldError(pointer=pointer, message=message))


def read_data(model: type[Data], envelope: Envelope, data: Mapping[str, Any]) -> Data:
    """``data`` as ``model``; an absent ``recorded_at`` is the event's ``time``.

    Raises:
        Refusal: with a pointer to each wrong field; the reason is ``unknown-county``, ``unknown-item`` or ``invalid``.
    """
    fields = dict(data)
    if fields.get("recorded_at") is None:
        require(envelope.time is not None, "invalid", "/data/recorded_at", "say when it was recorded, here or in the event's time")
        fields["recorded_at"] = envelope.time
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        kinds = [e["type"] for e in error.errors(include_url=False, include_input=False)]
        reason = next((kind for kind in kinds if kind in ("unknown-county", "unknown-item")), "invalid")
        raise Refusal(reason, *_field_errors(error, "/data")) from None


def refuse_future(model: object, now: datetime, *names: str) -> None:
    """Raises a :class:`Refusal` ``future`` if one of these times is over ten minutes ahead of ``now``."""
    errors = [
        FieldError(pointer=f"/data/{name}", message="over 10 minutes ahead of our clock: correct the sender's clock or the value")
        for name in names
        if (value := getattr(model, name)) is not None and value > now + MOST_AHEAD
    ]
    if errors:
        raise Refusal("future", *errors)


def refuse_people(recorded_at: datetime, *identifiers: tuple[str, str | None]) -> None:
    """Raises a :class:`Refusal` ``personal-data`` if one of ``identifiers``, each with its pointer, is somebody's number.

    What names an event or a case reaches every topic and table, so it may name nobody (DESIGN §5).
    """
    doubtful = [(pointer, given) for pointer, given in identifiers if given is not None and people.is_worth_a_look(given)]
    if not doubtful:
        return
    try:
        day = business_day(recorded_at)
    except OverflowError:
        day = recorded_at.date()  # of the last hours of the year 9999
    errors = [
        FieldError(pointer=pointer, message="holds an identity number or a phone's: use a number that tells of nobody")
        for pointer, identifier in doubtful
        if people.is_somebodys(identifier, day)
    ]
    if errors:
        raise Refusal(PERSONAL_DATA, *errors)


def ignored_fields(model: type[BaseModel], data: Mapping[str, Any], known: frozenset[str] = frozenset()) -> int:
    """How many fields of ``data`` neither ``model`` nor ``known`` names."""
    return sum(1 for name in data if name not in model.model_fields and name not in known)


def _field_errors(error: ValidationError, prefix: str) -> list[FieldError]:
    return [
        FieldError(
            pointer=prefix + "".join(f"/{part}" for part in e["loc"]),  # our own models' names: nothing to escape
            message=e["msg"].removeprefix("Value error, "),
        )
        for e in error.errors(include_url=False, include_input=False)[:MOST_ERRORS]
    ]


def _unreadable(value: object, pointer: str, depth: int = 0) -> Iterator[FieldError]:
    if isinstance(value, str):
        if CONTROL_CHARACTER.search(value):
            yield FieldError(pointer=pointer, message="holds a control character: remove it")
    elif isinstance(value, Mapping | list) and depth == DEEPEST:
        yield FieldError(pointer=pointer, message=f"nested deeper than {DEEPEST} levels")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if CONTROL_CHARACTER.search(name):
                yield FieldError(pointer=pointer, message="a field's name holds a control character: remove it")
            else:
                yield from _unreadable(inner, _within(pointer, name), depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _unreadable(inner, pointer, depth + 1)


def _within(pointer: str, name: str) -> str:
    """The pointer to ``name``; its parent's where no field of ours can stand, for such a name may be somebody's data."""
    return f"{pointer}/{name}" if pointer in ("", "/data") and _FIELD_NAME.fullmatch(name) else pointer
