"""Matters that are followed up: what counts of a snapshot as of any day, whatever its kind (``docs/installations.md``).

A matter is opened, and done or dropped; between these it may be due soon and overdue. All days are business days in
China's time. A kind that is not in :data:`FOLLOWED` is kept as a snapshot and counted nowhere.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from shared.clock import business_day
from shared.events.progress import InstallationState, JointState, Pause, Snapshot
from shared.events.utility import InstallationStep
from shared.workdays import PUBLISHED, Calendar

_DAY: Final = timedelta(days=1)

RULES_VERSION: Final = 1
"""Raised with every change of this module that gives another matter: then every row is derived anew."""

Span = tuple[date, date | None]
"""From a day until before another; ``None``: without end."""


def rules(calendar: Calendar = PUBLISHED) -> int:
    """The number of these rules with this calendar: another number, another result."""
    return (int(calendar.digest[:6], 16) << 6) + RULES_VERSION


class Matter(NamedTuple):
    """What is counted of one subject. Absent days are those that have not come, or that nobody has reported."""

    county: str | None = None
    service: str | None = None
    party: str | None = None
    opened_on: date | None = None
    done_on: date | None = None
    dropped_on: date | None = None
    working_days: int | None = None
    overdue: Sequence[Span] = ()
    due_soon: Sequence[Span] = ()
    moved_on: Sequence[date] = ()


def of_snapshot(snapshot: Snapshot) -> Matter | None:
    """What counts of it; ``None`` for a kind that is not followed. What is deleted counts for nothing.

    Raises:
        ValueError: the state has not the shape of its kind.
    """
    read = FOLLOWED.get(snapshot.kind)
    if read is None:
        return None
    return Matter() if snapshot.deleted else read(snapshot.state)


def of_installation(content: Mapping[str, Any]) -> Matter:
    """Opened with the first step that happened; done when connected, dropped when cancelled."""
    state = InstallationState.model_validate(content)
    days = {step: business_day(at) for step, at in state.steps.items()}
    overdue = _spans((max(x.due_on + _DAY, x.since), x.ended_on) for x in state.limits if x.due_on is not None)
    soon = _spans((max(x.due_soon_from, x.since), x.ended_on) for x in state.limits if x.due_soon_from is not None)
    accepted, connected = days.get(InstallationStep.ACCEPTED), days.get(InstallationStep.CONNECTED)
    return Matter(
        county=state.county,
        service=state.service,
        party=state.company,
        opened_on=min(days.values(), default=None),
        done_on=connected,
        dropped_on=days.get(InstallationStep.CANCELLED),
        working_days=working_days(accepted, connected, state.pauses),
        overdue=overdue,
        due_soon=_without(soon, _spans([*overdue, *((p.from_on, p.to_on) for p in state.pauses)])),
        moved_on=sorted({*days.values(), *map(business_day, (*state.paused, *state.resumed))}),
    )


def of_joint(content: Mapping[str, Any]) -> Matter:
    """Opened with its case; done when every part is connected or cancelled, dropped when the case ended before."""
    state = JointState.model_validate(content)
    return Matter(
        county=state.county,
        opened_on=state.opened_on,
        done_on=state.ended_on if state.status == "complete" else None,
        dropped_on=state.ended_on if state.status == "ended" else None,
        working_days=working_days(state.opened_on, state.ended_on if state.status == "complete" else None),
    )


FOLLOWED: Final[Mapping[str, Callable[[Mapping[str, Any]], Matter]]] = {"installation": of_installation, "joint": of_joint}


def working_days(start: date | None, end: date | None, pauses: Iterable[Pause] = (), calendar: Calendar = PUBLISHED) -> int | None:
    """Working days after ``start``, up to and including ``end``, without those at whose end it stood still.

    ``None`` where one of them is not known, or the end is before the start: then the reports cannot be true.
    """
    if start is None or end is None or end < start:
        return None
    whole = calendar.between(start, end)
    return whole - sum(calendar.between(max(p.from_on - _DAY, start), min((p.to_on or end + _DAY) - _DAY, end)) for p in pauses)


def _spans(spans: Iterable[Span]) -> list[Span]:
    """In order, those that touch joined, empty ones left out."""
    found: list[Span] = []
    for begin, end in sorted(spans, key=lambda span: span[0]):
        if end is not None and end <= begin:
            continue
        if found and (found[-1][1] is None or begin <= found[-1][1]):
            last = found[-1]
            found[-1] = (last[0], None if last[1] is None or end is None else max(last[1], end))
        else:
            found.append((begin, end))
    return found


def _without(spans: Iterable[Span], taken: Sequence[Span]) -> list[Span]:
    """The days of ``spans`` that are in none of ``taken``, which are in order and apart."""
    left: list[Span] = []
    for begin, end in spans:
        start: date | None = begin
        for gone_from, gone_to in taken:
            if start is None or (end is not None and gone_from >= end):
                break
            if gone_to is not None and gone_to <= start:
                continue
            if start < gone_from:
                left.append((start, gone_from))
            start = gone_to
        if start is not None and (end is None or start < end):
            left.append((start, end))
    return left
