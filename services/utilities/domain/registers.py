"""Last-writer-wins registers, kept as the events that won them (CONTRACT §2, DESIGN §3).

The state of a thing is the set of its *winning events*: an event is kept while it wins at least one register. Merging
is: union, then keep the winners. The winner of a union is the greatest of the winners, so merging is commutative,
associative and idempotent, and everything else is derived from the set.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, Self, TypeVar

import orjson

from shared.events.utility import Installation, Presence

Data = TypeVar("Data", Installation, Presence)


class Mark(NamedTuple):
    """An event's place in the order that decides a register: time recorded, then id, then payload digest."""

    recorded_at: datetime
    event_id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Event(Generic[Data]):
    """One event as it takes part in merging. Equal marks mean equal content."""

    mark: Mark
    data: Data

    @classmethod
    def of(cls, event_id: str, data: Data) -> Self:
        """The event with this id. The model holds every time in UTC, so that one instant has one digest."""
        content = orjson.dumps(data.model_dump(mode="json", exclude_none=True), option=orjson.OPT_SORT_KEYS)
        return cls(Mark(data.recorded_at, event_id, hashlib.sha256(content).digest()), data)


State = tuple[Event[Data], ...]
"""Winning events by rising mark; empty when nothing is known."""


def winners(events: Iterable[Event[Data]], registers: Callable[[Data], Iterable[Hashable]]) -> State[Data]:
    """Those of ``events`` that win at least one of the registers that they name."""
    best: dict[Hashable, Event[Data]] = {}
    for event in events:
        for register in registers(event.data):
            held = best.get(register)
            if held is None or held.mark < event.mark:
                best[register] = event
    return tuple(sorted({event.mark: event for event in best.values()}.values(), key=lambda event: event.mark))


def dump(state: State[Data]) -> list[dict[str, Any]]:
    """``state`` as JSON values, for storing."""
    return [{"id": event.mark.event_id, "data": event.data.model_dump(mode="json", exclude_none=True)} for event in state]


def load(model: type[Data], stored: Iterable[dict[str, Any]]) -> State[Data]:
    """What :func:`dump` gave, as a state."""
    return tuple(Event.of(entry["id"], model.model_validate(entry["data"])) for entry in stored)
