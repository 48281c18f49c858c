"""Mending what is parked: what a correction may be, what a replay publishes, and in which order. Pure.

A corrected event keeps its id and its ``recorded_at``: so it takes the place among its case's events that it would have had,
whenever it is replayed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from services.intake.domain.index import METRICS, Unusable
from services.intake.domain.judging import Sender, sender_of
from services.intake.domain.rows import is_row, judge_item
from shared.events import case
from shared.events.times import Instant
from shared.parking import HIDDEN
from shared.verdicts import FieldError, Refusal, Rejected, Verdict, require

NEEDS_FIX: Final = "needs-fix"
NOT_OURS: Final = "not-ours"
UTILITIES: Final = "utilities"

MOST_EVENTS: Final = 20
"""How many events one parked thing may become: a row of a dialect tells a few steps."""

Event = Mapping[str, Any]
Senders = Mapping[str, Sender]

_FIX: Final = "fix it with the full event, as its sender has it"
_instant: Final[TypeAdapter[datetime]] = TypeAdapter(Instant)


def refuse_foreign(record: Unusable, case_topic: str) -> None:
    """Raises a :class:`Refusal` unless ``record`` is a case event, and so intake's to publish.

    Each topic has one writer (``docs/decisions/0012-an-index-of-the-log.md``).
    """
    if record.service == UTILITIES:
        raise _not_ours(
            "a company's: it sends its event again, corrected, with the same id, and its edge judges it by the registry"
        )
    if record.service == METRICS and not record.origin.startswith(f"{case_topic}/"):
        raise _not_ours("a snapshot of another service: `services.utilities.main publish-again` has it published anew")


def _not_ours(whose: str) -> Refusal:
    return Refusal(NOT_OURS, FieldError(pointer="", message=f"intake publishes case events alone, and this is {whose}"))


def corrected(record: Unusable, given: object, senders: Senders, now: datetime) -> list[Event]:
    """The events that ``given`` makes of ``record``, as they will be published: without people's data.

    ``given`` is an event, a row of the sender's dialect, or a list of events where the parked row told several. A single event's
    id and ``recorded_at`` are filled in where they are left out.

    Raises:
        Refusal: it is wrong still, with pointers; or it has another id or ``recorded_at``, though those were not the fault.
    """
    if isinstance(given, list):
        require(1 <= len(given) <= MOST_EVENTS, "malformed", "", f"a list has 1 to {MOST_EVENTS} events")
        return list(chain.from_iterable(_judged(record, item, f"/{index}", senders, now) for index, item in enumerate(given)))
    if not isinstance(given, dict):
        raise Refusal("malformed", FieldError(pointer="", message="send the corrected event, a JSON object"))
    events = _judged(record, given if is_row(given) else _in_its_place(record, given, senders), "", senders, now)
    if record.event_id is not None and not _named(record, "/id"):
        kept = any(_is_of(record, event["id"]) for event in events)
        require(kept, "invalid", "/id", "a corrected event keeps its id")
    return events


def _is_of(record: Unusable, event_id: str) -> bool:
    """Whether an event is the parked one, or one of those that the parked row tells: their ids begin with the row's."""
    return event_id == record.event_id or (is_row(record.payload) and event_id.startswith(f"{record.event_id}."))


def _judged(record: Unusable, item: object, prefix: str, senders: Senders, now: datetime) -> list[Event]:
    verdict = judge_item(item, _sender(record, item, senders), now)
    if isinstance(verdict, Rejected):
        errors = [error.model_copy(update={"pointer": prefix + error.pointer}) for error in verdict.errors]
        raise Refusal(verdict.reason, *errors)
    return [orjson.loads(value) for value in verdict.values()]


def _sender(record: Unusable, item: object, senders: Senders) -> Sender | None:
    """Who is entitled: the sender that pushed it, else whose source the event names."""
    return senders.get(record.sender) if record.sender is not None else sender_of(item, list(senders.values()))


def _in_its_place(record: Unusable, item: dict[str, Any], senders: Senders) -> dict[str, Any]:
    """``item`` with what it left out: the attributes that are always the same, its id, and when it was recorded.

    Raises:
        Refusal: it was recorded at another time.
    """
    sender = senders.get(record.sender) if record.sender is not None else None
    known = {"specversion": "1.0", "type": case.TYPE, "source": sender.source if sender else None, "id": record.event_id}
    item = {name: value for name, value in known.items() if value is not None} | item
    given_at = recorded_at(record.payload or {})
    data = item.get("data")
    if given_at is None or not isinstance(data, Mapping) or _named(record, "/data/recorded_at", "/time"):
        return item
    if data.get("recorded_at") is None:
        data = {**data, "recorded_at": given_at}
    require(
        _read(data["recorded_at"]) == _read(given_at), "invalid", "/data/recorded_at",
        "a corrected event keeps when it was recorded, and so its place among the events of its case",
    )  # fmt: skip
    return item | {"data": data}


def _named(record: Unusable, *pointers: str) -> bool:
    """Whether one of these places was what was wrong."""
    return any(error["pointer"] in pointers for error in record.errors)


def replayed(record: Unusable, events: Sequence[Event] | None, senders: Senders, case_topic: str, now: datetime) -> list[Verdict]:
    """The judgement, as at the edge, of what a replay of ``record`` publishes: ``events``, its correction, else its payload.

    It is rejected with ``needs-fix`` where something that the count needs was removed, or where nothing could be read.
    """
    try:
        refuse_foreign(record, case_topic)
        if events is None:
            _refuse_incomplete(record)
    except Refusal as refusal:
        return [Rejected(record.event_id, refusal.reason, refusal.errors)]
    return [judge_item(item, _sender(record, item, senders), now) for item in ([record.payload] if events is None else events)]


def _refuse_incomplete(record: Unusable) -> None:
    if record.payload is None:
        raise Refusal(NEEDS_FIX, FieldError(pointer="", message=f"it could not be read, so nothing of it is kept: {_FIX}"))
    removed = tuple(_removed(record.payload, ""))
    if removed:
        raise Refusal(NEEDS_FIX, *removed)


def _removed(values: Mapping[str, Any], prefix: str) -> Iterator[FieldError]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _removed(value, f"{prefix}/{name}")
        elif value == HIDDEN or (isinstance(value, list) and HIDDEN in value):
            yield FieldError(pointer=f"{prefix}/{name}", message=f"was removed, for it may be somebody's: {_FIX}")


def in_case_order(values: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """Published events with the key of each, those of a case together and as they were recorded.

    No figure depends on it, for every register takes the greatest ``(recorded_at, id)`` whatever comes first. It is kept for
    those who read the log: a case's story is told in its order.
    """

    placed = []
    for value in values:
        event = orjson.loads(value)
        at = _instant.validate_python(event["data"]["recorded_at"])
        placed.append((event["source"], event["subject"], at, event["id"], value))
    return [(subject, value) for _, subject, _, _, value in sorted(placed)]


def recorded_at(payload: Mapping[str, Any]) -> str | None:
    """What the event said about when it was recorded, where it can be read as a time."""
    data = payload.get("data")
    given = data.get("recorded_at") if isinstance(data, Mapping) else None
    given = given if given is not None else payload.get("time")
    return given if isinstance(given, str) and _read(given) is not None else None


def _read(given: object) -> datetime | None:
    try:
        return _instant.validate_python(given).astimezone(UTC)
    except ValidationError:
        return None
