"""The rules of counting, pure: how events of a case merge, and what a case contributes (CONTRACT §2 and §4, DESIGN §3).

A case's state is the set of its *winning events*: those that hold at least one of its registers. Merging is the union
of two such sets, cut back to the winners: commutative, associative and idempotent, whatever order events come in and
however often. Each register is explained by the very event that set it.
"""

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from shared.clock import business_day

MEASURES: Final = (
    "handled",
    "applied",
    "accepted",
    "completed",
    "completed_on_time",
    "not_accepted",
    "returned",
    "withdrawn",
    "online",
)
"""In the order in which contributions, counters and columns hold them."""

ONLINE_CHANNELS: Final = frozenset({"web", "mobile"})


class CaseEvent(NamedTuple):
    """One event of a case as it is kept: times in microseconds since the epoch, absent attributes ``None``.

    ``operation`` is ``upsert``, ``retract`` or ``delete``. The order of fields is the order in the database's JSON arrays.
    """

    recorded_at: int
    id: str
    operation: str
    step: str | None = None
    occurred_at: int | None = None
    county: str | None = None
    item: str | None = None
    channel: str | None = None
    outcome: str | None = None
    promised_on: str | None = None
    services: tuple[str, ...] | None = None

    def digest(self) -> bytes:
        """Decides between two contents that share id and ``recorded_at``."""
        return hashlib.sha256(orjson.dumps(tuple(self))).digest()


class CaseState(NamedTuple):
    """A case at one data version: its winning events, in rising order. The empty state has version 0."""

    version: int
    events: tuple[CaseEvent, ...]


EMPTY: Final = CaseState(0, ())

Registers: TypeAlias = Mapping[str, CaseEvent]
"""The winner of each register, by its name: ``step:<step>``, an attribute's name, or ``delete``."""

_ATTRIBUTES: Final = ("county", "item", "channel", "promised_on", "services")
_ATTRIBUTE_PLACES: Final = tuple((name, CaseEvent._fields.index(name)) for name in _ATTRIBUTES)


def registers(events: Iterable[CaseEvent]) -> dict[str, CaseEvent]:
    """The winner of each register among ``events`` given in rising order: the last that names it.

    An upsert or a retract names its step; a delete names the delete mark, and its step is ignored. All of them name
    the attributes that they carry.
    """
    winners: dict[str, CaseEvent] = {}
    for event in events:
        winners["delete" if event[2] == "delete" else f"step:{event[3]}"] = event
        for name, place in _ATTRIBUTE_PLACES:
            if event[place] is not None:
                winners[name] = event
    return winners


def in_order(events: Iterable[CaseEvent]) -> list[CaseEvent]:
    """Without repeats, by ``(recorded_at, id)``, equal ones by digest. Ids are ASCII, so that text order is byte order."""
    distinct = set(events)
    ordered = sorted(distinct, key=lambda event: event[:2])
    for one, next_one in itertools.pairwise(ordered):
        if one[:2] == next_one[:2]:
            return sorted(distinct, key=lambda event: (event[0], event[1], event.digest()))
    return ordered


def merge(state: CaseState, version: int, events: Iterable[CaseEvent]) -> CaseState:
    """``state`` with ``events`` of ``version`` merged in. A higher version replaces a lower one wholesale."""
    if version < state.version:
        return state
    known = state.events if version == state.version else ()
    ordered = in_order((*known, *events))
    winners = {id(event) for event in registers(ordered).values()}
    return CaseState(version, tuple(event for event in ordered if id(event) in winners))


def is_deleted(winners: Registers) -> bool:
    """Whether the latest delete is not older than the latest other event; a later event revives the case.

    The latest other event always holds its own step's register, so the registers tell all.
    """
    delete = winners.get("delete")
    if delete is None:
        return False
    return all(delete[:2] >= event[:2] for name, event in winners.items() if name.startswith("step:"))


class Contribution(NamedTuple):
    """What a case adds to the counters: one case under each of ``days`` that is not ``None``.

    ``days`` go in the order of :data:`MEASURES`, as days since the epoch in Asia/Shanghai.
    """

    county: str
    item: str
    days: tuple[int | None, ...]


class CaseView(NamedTuple):
    """What the row of a case shows: its attributes, whether it is deleted, and what it contributes (``None``: nothing)."""

    county: str | None
    item: str | None
    channel: str | None
    promised_on: str | None
    deleted: bool
    contribution: Contribution | None


_DAY: Final = 86_400_000_000
_SHANGHAI: Final = 8 * 3_600_000_000
_SINCE_1992: Final = 694_224_000_000_000
"""China has had no summer time since; before, the zone's own table is asked."""


def day_of(instant: int) -> int:
    """The business day, in days since the epoch, of an instant in microseconds since the epoch."""
    if instant >= _SINCE_1992:
        return (instant + _SHANGHAI) // _DAY
    return (business_day(datetime.fromtimestamp(instant // 1_000_000, UTC)) - date(1970, 1, 1)).days


def view(state: CaseState) -> CaseView:
    """What ``state`` shows and counts for. A case counts while it is live, placed, and has at least one step."""
    winners = registers(state.events)
    county = winners["county"].county if "county" in winners else None
    item = winners["item"].item if "item" in winners else None
    channel = winners["channel"].channel if "channel" in winners else None
    promised_on = winners["promised_on"].promised_on if "promised_on" in winners else None
    deleted = is_deleted(winners)
    if deleted or county is None or item is None:
        return CaseView(county, item, channel, promised_on, deleted, None)
    times = {
        event.step: event.occurred_at
        for name, event in winners.items()
        if name.startswith("step:") and event.operation == "upsert" and event.occurred_at is not None
    }
    if not times:
        return CaseView(county, item, channel, promised_on, deleted, None)
    handled = day_of(min(times.values()))
    completed = _step_day(times, "completed")
    days = (
        handled,
        _step_day(times, "applied"),
        _step_day(times, "accepted"),
        completed,
        completed if completed is not None and is_on_time(completed, promised_on) else None,
        _step_day(times, "not_accepted"),
        _step_day(times, "returned"),
        _step_day(times, "withdrawn"),
        handled if channel in ONLINE_CHANNELS else None,
    )
    return CaseView(county, item, channel, promised_on, deleted, Contribution(county, item, days))


def _step_day(times: Mapping[str | None, int], step: str) -> int | None:
    occurred_at = times.get(step)
    return None if occurred_at is None else day_of(occurred_at)


def is_on_time(completed: int, promised_on: str | None) -> bool:
    """Whether a case completed on day ``completed`` kept its promise; without one, never."""
    return promised_on is not None and completed <= (date.fromisoformat(promised_on) - date(1970, 1, 1)).days


class Deltas:
    """What a batch moves: for each (item, county, day), by how much each measure's counter changes."""

    def __init__(self) -> None:
        self._moved: dict[tuple[str, str, int], list[int]] = {}

    def move(self, old: Contribution | None, new: Contribution | None) -> None:
        """Takes ``old`` away and adds ``new``: a correction or a move is both."""
        if old == new:
            return
        for sign, contribution in ((-1, old), (1, new)):
            if contribution is not None:
                county, item, days = contribution
                for place, day in enumerate(days):
                    if day is not None:
                        self.add(item, county, day, (place,), sign)

    def add(self, item: str, county: str, day: int, places: Iterable[int], n: int = 1) -> None:
        """Moves the counters of the measures at ``places`` by ``n``, all of them on one day."""
        counter = self._moved.get((item, county, day))
        if counter is None:
            counter = self._moved[item, county, day] = [0] * len(MEASURES)
        for place in places:
            counter[place] += n

    def rows(self) -> list[tuple[str, str, int, list[int]]]:
        """The counters that really change, as (item, county, day, change of each measure)."""
        return [(item, county, day, moved) for (item, county, day), moved in self._moved.items() if any(moved)]


def dump_event(event: CaseEvent) -> str:
    """An event as the database keeps it: a JSON array in field order, absent fields at the end left out."""
    end = len(event)
    while event[end - 1] is None:
        end -= 1
    return orjson.dumps(event[:end]).decode()


def dump_events(events: Iterable[CaseEvent]) -> str:
    """Events as the database keeps them, joined by commas."""
    return ",".join(map(dump_event, events))


def load_events(text: str) -> tuple[CaseEvent, ...]:
    """The inverse of :func:`dump_events`."""
    rows: list[list[Any]] = orjson.loads(f"[{text}]")
    for row in rows:
        if len(row) == len(CaseEvent._fields):
            row[-1] = tuple(row[-1])
    return tuple(CaseEvent(*row) for row in rows)
