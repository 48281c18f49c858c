"""Installations as of a day: figures by county and service, and what stands behind each (``docs/installations.md``)."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from shared import counties, workdays
from shared.clock import business_day
from shared.events.case import Service
from shared.events.progress import InstallationState, Limit
from shared.events.utility import InstallationStep

COUNTED: Final = ("opened", "connected", "cancelled", "in_progress", "due_soon", "overdue")

Tally = Mapping[str, Any]
"""``county`` and ``service`` (``None`` where no event named it), ``working_days`` of those connected, and a number of each
of :data:`COUNTED`."""


def median(histogram: Mapping[int, int]) -> float | None:
    """The median of values with how often each occurs; the mean of the middle two where their number is even."""
    whole = sum(histogram.values())
    if not whole:
        return None
    low, high = _nth(histogram, (whole - 1) // 2), _nth(histogram, whole // 2)
    return low if low == high else (low + high) / 2


def _nth(histogram: Mapping[int, int], place: int) -> int:
    passed = 0
    for value in sorted(histogram):
        passed += histogram[value]
        if passed > place:
            return value
    raise IndexError(place)


def figures(tallies: Iterable[Tally], county: str | None = None, service: str | None = None) -> dict[str, Any]:
    """A row for each unit of the roster and each service, zeros included; sums by unit, by service and of all.

    ``unplaced`` counts the opened ones of which no event has named county or service; they are in no row and no sum.
    """
    units = [unit for unit in counties.ROSTER if county in (None, unit.code)]
    services = [one for one in Service if service in (None, one)]
    known = list(tallies)
    placed = [tally for tally in known if tally["county"] is not None and tally["service"] is not None]
    cells = _summed(placed, lambda tally: (tally["county"], tally["service"]))
    by_county, by_service = _summed(placed, lambda tally: tally["county"]), _summed(placed, lambda tally: tally["service"])
    return {
        "rows": [
            {"county": unit.code, "name": unit.name, "service": one, **_row(cells.get((unit.code, one), ()))}
            for unit in units
            for one in services
        ],
        "by_county": [{"county": unit.code, "name": unit.name, **_row(by_county.get(unit.code, ()))} for unit in units],
        "by_service": [{"service": one, **_row(by_service.get(one, ()))} for one in services],
        "total": _row(placed),
        "unplaced": sum(tally["opened"] for tally in known) - sum(tally["opened"] for tally in placed),
    }


def _summed(tallies: Iterable[Tally], key: Callable[[Tally], Any]) -> dict[Any, list[Tally]]:
    groups: dict[Any, list[Tally]] = {}
    for tally in tallies:
        groups.setdefault(key(tally), []).append(tally)
    return groups


def _row(tallies: Sequence[Tally]) -> dict[str, Any]:
    days: Counter[int] = Counter()
    for tally in tallies:
        if tally["working_days"] is not None:
            days[tally["working_days"]] += tally["connected"]
    return {**{name: sum(tally[name] for tally in tallies) for name in COUNTED}, "median_working_days": median(days)}


def listed(row: Mapping[str, Any], as_of: date) -> dict[str, Any]:
    """One installation as it stood at the end of ``as_of``. ``row`` has its days, and its ``state`` as told.

    ``due`` is the limit that was due next or, where several are overdue, the one that has been for longest.
    """
    state = InstallationState.model_validate(row["state"])
    done_on, dropped_on = row["done_on"], row["dropped_on"]
    paused = state.paused_on(as_of)
    return {
        "installation_no": state.installation_no,
        "company": state.company,
        "county": state.county,
        "service": state.service,
        "case_no": state.case_no,
        "case_source": state.case_source,
        "customer_kind": state.customer_kind,
        "state": status(done_on, dropped_on, as_of, paused=paused),
        "since": row["since"],
        "opened_on": row["opened_on"],
        "step": last_step(state, as_of),
        "ended_on": next((day for day in (done_on, dropped_on) if day is not None and day <= as_of), None),
        "working_days": row["working_days"] if done_on is not None and done_on <= as_of else None,
        "overdue": state.overdue_on(as_of),
        "due_soon": state.due_soon_on(as_of),
        "due": due(state, as_of),
        "anomalies": state.anomalies,
    }


def status(done_on: date | None, dropped_on: date | None, as_of: date, *, paused: bool) -> str:
    """``connected``, ``cancelled``, ``paused`` or ``in_progress`` at the end of ``as_of``. What is connected is not cancelled."""
    if done_on is not None and done_on <= as_of:
        return "connected"
    if dropped_on is not None and dropped_on <= as_of:
        return "cancelled"
    return "paused" if paused else "in_progress"


def last_step(state: InstallationState, as_of: date) -> InstallationStep | None:
    """The step that happened last by the end of ``as_of``, pauses aside."""
    usual = {step: place for place, step in enumerate(InstallationStep)}
    happened = [(at, usual[step], step) for step, at in state.steps.items() if business_day(at) <= as_of]
    return max(happened)[2] if happened else None


def due(state: InstallationState, as_of: date) -> dict[str, Any] | None:
    """The running limit that is due first, as it is known now; ``None`` where none runs that has a due day."""
    running = [limit for limit in state.limits if limit.runs_on(as_of) and limit.due_on is not None]
    first = min(running, key=_due_first, default=None)
    if first is None or first.due_on is None:
        return None
    return {
        "step": first.step,
        "since": first.since,
        "limit_working_days": first.working_days,
        "due_on": first.due_on,
        "working_days_late": workdays.working_days_between(first.due_on, as_of),
        "provisional": first.provisional,
    }


def _due_first(limit: Limit) -> tuple[date, str]:
    return limit.due_on or date.max, limit.step
