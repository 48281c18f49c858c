"""Last-writer-wins registers, kept as the events that won them (CONTRACT §2, DESIGN §3).

The state of a thing is the set of its *winning events*: an event is kept while it wins at least one register. Merging
is: union, then keep the winners. The winner of a union is the greatest of the winners, so merging is commutative,
associative and idempotent, and everything else is derived from the set.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterable
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
import orjson

from services.utilities.domain.wire import CaseData, InstallationData, PresenceData, WindowData

Data = TypeVar("Data", InstallationData, PresenceData, WindowData, CaseData)

Versioned = TypeVar("Versioned", InstallationData, CaseData)

Mark = tuple[datetime, str]
"""An event's place in the order that decides a register: time recorded, then id; of the same id and time, payload digest."""


class Event(msgspec.Struct, Generic[Data], frozen=True, gc=False):
    """One event as it takes part in merging."""

    id: str
    data: Data

    @property
    def mark(self) -> Mark:
        return self.data.recorded_at, self.id

    def beats(self, held: "Event[Data]") -> bool:
        """Whether it comes after ``held`` in the order that decides."""
        if self.data.recorded_at != held.data.recorded_at:
            return self.data.recorded_at > held.data.recorded_at
        if self.id != held.id:
            return self.id > held.id
        return self is not held and self.data != held.data and digest(self.data) > digest(held.data)


def digest(data: msgspec.Struct) -> bytes:
    """Of the payload in normal form: defaults written out, absent attributes left out, times in UTC."""
    named = {name: value for name in data.__struct_fields__ if (value := getattr(data, name)) is not None}
    return hashlib.sha256(orjson.dumps(msgspec.to_builtins(named), option=orjson.OPT_SORT_KEYS)).digest()


State = tuple[Event[Data], ...]
"""Winning events by rising mark; empty when nothing is known."""


def winners(events: Iterable[Event[Data]], registers: Callable[[Data], Iterable[Hashable]]) -> State[Data]:
    """Those of ``events`` that win at least one of the registers that they name."""
    best: dict[Hashable, Event[Data]] = {}
    for event in events:
        for register in registers(event.data):
            held = best.get(register)
            if held is None or event.beats(held):
                best[register] = event
    distinct = list({id(event): event for event in best.values()}.values())
    distinct.sort(key=_mark)
    return tuple(_settled(distinct))


def newest_version(events: Iterable[Event[Versioned]], registers: Callable[[Versioned], Iterable[Hashable]]) -> State[Versioned]:
    """The winners among the events of the highest ``data_version``: it replaces lower ones wholesale."""
    known = list(events)
    versions = {event.data.data_version for event in known}
    if len(versions) > 1:
        highest = max(versions)
        known = [event for event in known if event.data.data_version == highest]
    return winners(known, registers)


def _mark(event: Event[Any]) -> Mark:
    return event.mark


def _settled(ordered: list[Event[Data]]) -> list[Event[Data]]:
    """Without repeats of an event, and those that share id and time by digest."""
    marks = {event.mark for event in ordered}
    if len(marks) == len(ordered):
        return ordered
    distinct = {(event.mark, digest(event.data)): event for event in ordered}
    return [distinct[key] for key in sorted(distinct)]


def dump(state: State[Data]) -> str:
    """``state`` as JSON, for storing."""
    return msgspec.json.encode(state).decode()


def loader(model: type[Data]) -> Callable[[str | bytes], State[Data]]:
    """Reads what :func:`dump` wrote of events of ``model``."""
    return msgspec.json.Decoder(tuple[Event[model], ...]).decode  # type: ignore[valid-type]
