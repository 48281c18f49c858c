"""The steps of one installation as they stand in time: its days, its pauses, whose turn it is, and what cannot be true."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from shared.clock import business_day
from shared.events.progress import AnomalyCode, WaitsOn
from shared.events.utility import InstallationStep as Step

USUAL_ORDER: Final = (
    Step.ACCEPTED,
    Step.SURVEYED,
    Step.PLAN_REPLIED,
    Step.PERMITTED,
    Step.WORKS_STARTED,
    Step.WORKS_DONE,
    Step.INSPECTED,
    Step.CONNECTED,
)
"""Each follows the one before; ``cancelled`` may end them at any time."""

REPEATING: Final = frozenset({Step.PAUSED, Step.RESUMED})
"""Steps that happen many times: each ``occurred_at`` is a register of its own."""

Steps = Mapping[Step, datetime]
"""When each step happened that happens once."""

PLACES: Final = {step: place for place, step in enumerate((*USUAL_ORDER, Step.CANCELLED))}
"""Where a step's day stands in :class:`Timing`: what comes later, and a cancellation, ends what came before."""

Pauses = tuple[tuple[int, int | None], ...]
"""Stretches of days on whose end the clock stands: from a day until before another (``None``: still), in order, apart. Days
are ordinals of the calendar (:meth:`datetime.date.toordinal`)."""

_SHANGHAI: Final = timedelta(hours=8)
_SINCE_1992: Final = datetime(1992, 1, 1, tzinfo=UTC)
"""China has had no summer time since; before, the zone's own table is asked."""


def day_of(instant: datetime) -> date:
    """The business day of ``instant``, which is in UTC."""
    return (instant + _SHANGHAI).date() if instant >= _SINCE_1992 else business_day(instant)


@lru_cache(maxsize=1 << 16)
def iso(day: int) -> str:
    """The day with this ordinal, ``yyyy-mm-dd``."""
    return date.fromordinal(day).isoformat()


class Timing(NamedTuple):
    """What due dates follow from: nothing else of an installation matters to them.

    ``days`` are those of the steps, by :data:`PLACES`, as ordinals; ``None`` where a step has not happened.
    """

    service: str | None
    customer_kind: str | None
    days: Sequence[int | None]
    pauses: Pauses


def timing(service: str | None, customer_kind: str | None, steps: Steps, pauses: Pauses) -> Timing:
    """Of the steps that happened once, and the pauses."""
    days = [day_of(steps[step]).toordinal() if step in steps else None for step in PLACES]
    return Timing(service, customer_kind, days, pauses)


class Standstill(NamedTuple):
    """A pause as it was reported, until resumed (``None``: not yet)."""

    paused_at: datetime
    resumed_at: datetime | None


def standstills(paused: Sequence[datetime], resumed: Sequence[datetime]) -> tuple[list[Standstill], set[AnomalyCode]]:
    """The pauses, in order, and what is odd about them. A second pause before a resumption changes nothing, nor does a
    resumption without a pause."""
    found: list[Standstill] = []
    odd: set[AnomalyCode] = set()
    since: datetime | None = None
    for at, is_end in sorted([(at, False) for at in paused] + [(at, True) for at in resumed]):
        if not is_end:
            if since is None:
                since = at
            else:
                odd.add(AnomalyCode.PAUSED_TWICE)
        elif since is None:
            odd.add(AnomalyCode.RESUMED_WITHOUT_PAUSE)
        else:
            found.append(Standstill(since, at))
            since = None
    if since is not None:
        found.append(Standstill(since, None))
    return found, odd


def pauses(stills: Sequence[Standstill], ended_at: datetime | None) -> Pauses:
    """The days that do not count: those at whose end the installation stands still, while it has not ended.

    So a pause that is over on the day it began costs no day, and one from Monday to Tuesday leaves Monday out.
    """
    ended_on = day_of(ended_at).toordinal() if ended_at is not None else None
    found: list[tuple[int, int | None]] = []
    for still in stills:
        begin = day_of(still.paused_at).toordinal()
        end = day_of(still.resumed_at).toordinal() if still.resumed_at is not None else None
        if ended_on is not None and (end is None or end > ended_on):
            end = ended_on
        if end is None or begin < end:
            found.append((begin, end))
    return merged(found)


def merged(stops: Iterable[tuple[int, int | None]]) -> Pauses:
    """Intervals in order, those that touch joined."""
    found: list[tuple[int, int | None]] = []
    for begin, end in sorted(stops, key=lambda stop: (stop[0], stop[1] or date.max.toordinal())):
        if found and (found[-1][1] is None or begin <= found[-1][1]):
            last = found[-1]
            found[-1] = (last[0], None if last[1] is None or end is None else max(last[1], end))
        else:
            found.append((begin, end))
    return tuple(found)


def ended_at(steps: Steps) -> datetime | None:
    """When it was connected or cancelled, whatever came first."""
    return min((steps[step] for step in (Step.CONNECTED, Step.CANCELLED) if step in steps), default=None)


def anomalies(
    steps: Steps, stills: Sequence[Standstill], odd: set[AnomalyCode], needs_permit: bool, in_season: Callable[[date], bool]
) -> tuple[AnomalyCode, ...]:
    """What cannot be true of the steps as reported, in the order of the codes."""
    found = set(odd)
    usual = [(step, steps[step]) for step in USUAL_ORDER if step in steps]
    accepted, connected, cancelled = steps.get(Step.ACCEPTED), steps.get(Step.CONNECTED), steps.get(Step.CANCELLED)
    if usual and accepted is None:
        found.add(AnomalyCode.NOT_ACCEPTED)
    if connected is not None and (accepted is None or connected < accepted):
        found.add(AnomalyCode.CONNECTED_BEFORE_ACCEPTED)
    works = min((steps[step] for step in (Step.WORKS_STARTED, Step.WORKS_DONE) if step in steps), default=None)
    if needs_permit and works is not None and (Step.PERMITTED not in steps or steps[Step.PERMITTED] > works):
        found.add(AnomalyCode.WORKS_WITHOUT_PERMIT)
    if any(later < earlier for (_, earlier), (_, later) in pairwise(usual)):
        found.add(AnomalyCode.OUT_OF_ORDER)
    if cancelled is not None and any(at > cancelled for _, at in usual):
        found.add(AnomalyCode.STEP_AFTER_CANCELLED)
    if any(s.paused_at < at and (s.resumed_at is None or at < s.resumed_at) for s in stills for _, at in usual):
        found.add(AnomalyCode.STEP_WHILE_PAUSED)
    if connected is not None and not in_season(day_of(connected)):
        found.add(AnomalyCode.CONNECTED_OUT_OF_SEASON)
    return tuple(code for code in AnomalyCode if code in found) if found else ()


def turn(
    steps: Steps, is_paused: bool, needs_permit: bool, in_season: Callable[[date], bool]
) -> tuple[Step | None, WaitsOn | None]:
    """The step that comes next, and who must act for it; nothing once it is connected or cancelled.

    A permit waits on the authorities, a pause on the applicant. A connection that was ready out of season waits on the season,
    and from its beginning on the company.
    """
    if Step.CONNECTED in steps or Step.CANCELLED in steps:
        return None, None
    reached = max((place for place, step in enumerate(USUAL_ORDER) if step in steps), default=-1)
    following = USUAL_ORDER[reached + 1]
    if following is Step.PERMITTED and not needs_permit:
        following = Step.WORKS_STARTED
    if is_paused:
        return following, "applicant"
    if following is Step.PERMITTED:
        return following, "authority"
    if following is Step.CONNECTED and not in_season(day_of(steps[USUAL_ORDER[reached]])):
        return following, "season"
    return following, "company"
