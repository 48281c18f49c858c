"""The common event, told apart: a step that a case did not have yet, newer than all it has, moving nothing else.

Such an event can be added to its case by one statement that reads nothing first (``store.add_steps``): the event wins its
own step's register, and what else it names stays as it is. This module says which events may try, and what they move
when the database agrees; the database checks the case's side. Every other event takes the way of ``cases.merge``, and
tests hold the two ways equal.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from services.metrics.domain.cases import MEASURES, ONLINE_CHANNELS, CaseState, Deltas, day_of, dump_event

_PLACES: Final[Mapping[str | None, int]] = {
    step: MEASURES.index(step) for step in ("applied", "accepted", "completed", "not_accepted", "returned", "withdrawn")
}
"""Steps that are measures too, with the measure's place. A step that is none cannot be seen in the case's columns."""

_HANDLED: Final = MEASURES.index("handled")
_COMPLETED: Final = MEASURES.index("completed")
_ON_TIME: Final = MEASURES.index("completed_on_time")
_ONLINE: Final = MEASURES.index("online")


class QuickStep(NamedTuple):
    """One event that may be added the quick way. ``place`` is that of its step's measure; ``day`` its business day."""

    version: int
    recorded_at: int
    place: int
    day: int
    county: str
    item: str
    channel: str | None
    promised_on: str | None
    events: str


def quick_step(state: CaseState) -> QuickStep | None:
    """The batch's only event of a case, if it is an upsert of a measured step that names county and item; else ``None``."""
    version, events = state
    if len(events) != 1:
        return None
    event = events[0]
    recorded_at, _, operation, step, occurred_at, county, item, channel, _, promised_on, _ = event
    place = _PLACES.get(step)
    if place is None or operation != "upsert" or county is None or item is None or occurred_at is None:
        return None
    return QuickStep(version, recorded_at, place, day_of(occurred_at), county, item, channel, promised_on, dump_event(event))


def moved_by(step: QuickStep, *, fresh: bool, on_time: bool, deltas: Deltas) -> None:
    """Adds to ``deltas`` what the step moved: all it counts for when the case is ``fresh``, else its own measure alone.

    ``on_time`` is whether the case as it is now was completed on time.
    """
    places = [step.place]
    if on_time and step.place == _COMPLETED:
        places.append(_ON_TIME)
    if fresh:
        places.append(_HANDLED)
        if step.channel in ONLINE_CHANNELS:
            places.append(_ONLINE)
    deltas.add(step.item, step.county, step.day, places)
