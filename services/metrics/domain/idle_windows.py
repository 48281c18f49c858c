"""Idle windows (进厅不办事): companies that stand co-located in a hall while nothing is handled there.

What counts, and how a report of a month is read in a window that covers part of it: ``docs/co-location.md``.
"""

from calendar import monthrange
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any, Final

from services.metrics.domain.co_location import Pair, co_located_since, registered_on
from shared import counties
from shared.events.case import Service
from shared.events.progress import PresencePeriod, PresenceState, RegistryState, WindowState

_SERVICES: Final = {service: place for place, service in enumerate(Service)}
_DAY: Final = timedelta(days=1)


def month_of(day: date) -> str:
    """The day's month, ``yyyy-mm``."""
    return day.isoformat()[:7]


def last_day(month: str) -> date:
    """The last day of ``yyyy-mm``."""
    year, number = int(month[:4]), int(month[5:])
    return date(year, number, monthrange(year, number)[1])


def months(first: date, last: date) -> list[str]:
    """Every month that has a day from ``first`` to ``last``."""
    found = []
    day = first
    while day <= last:
        month = month_of(day)
        found.append(month)
        if (end := last_day(month)) >= last:
            break
        day = end + _DAY
    return found


def expected(periods: Iterable[PresencePeriod], since: date | None, as_of: date) -> list[str]:
    """The months that a company has to report on: those that end in the window, if it is co-located on their last day."""
    told = tuple(periods)
    first = min(period.effective_on for period in told)
    first = first if since is None else max(since, first)
    return [m for m in months(first, as_of) if last_day(m) <= as_of and co_located_since(told, last_day(m)) is not None]


def co_located_pairs(
    registry: Iterable[RegistryState], presence: Iterable[PresenceState], as_of: date
) -> dict[Pair, tuple[str, PresenceState, date]]:
    """Pairs of the registry that are co-located on ``as_of``: the company's name, its presence, and since when."""
    names = registered_on(registry, as_of)
    found = {}
    for state in presence:
        pair = Pair(state.county, state.company, state.service)
        since = co_located_since(state.periods, as_of)
        if pair in names and since is not None:
            found[pair] = (names[pair], state, since)
    return found


def idle_windows(
    located: Mapping[Pair, tuple[str, PresenceState, date]],
    last_steps: Mapping[Pair, date],
    windows: Iterable[WindowState],
    since: date | None,
    as_of: date,
) -> dict[str, Any]:
    """The answer of ``/v1/idle-windows``. ``last_steps`` has for each pair the last day up to ``as_of`` with a step of any of its
    installations; ``windows`` every report of a month that has a day in the window."""
    reports: dict[Pair, dict[str, int]] = {}
    for window in windows:
        pair = Pair(window.county, window.company, window.service)
        reports.setdefault(pair, {})[window.month] = window.public_service_handled
    rows = []
    for pair in sorted(located, key=lambda p: (counties.ORDER[p.county], p.company, _SERVICES[p.service])):
        name, presence, from_on = located[pair]
        told, last = reports.get(pair, {}), last_steps.get(pair)
        if any(told.values()) or (last is not None and (since is None or since <= last)):
            continue
        due = expected(presence.periods, since, as_of)
        missing = [month for month in due if month not in told]
        rows.append(
            {
                "county": pair.county,
                "county_name": counties.BY_CODE[pair.county].name,
                "company": pair.company,
                "name": name,
                "service": pair.service,
                "co_located_since": from_on,
                "last_step_on": last,
                # What reported zero is told from what reported nothing: each month that it had to report on, else any.
                "reported": not missing and bool(told),
                "months_reported": sorted(told),
                "months_missing": missing,
            }
        )
    return {
        "from": since,
        "as_of": as_of,
        "rows": rows,
        "counties": [
            {
                "county": unit.code,
                "name": unit.name,
                "co_located": sum(pair.county == unit.code for pair in located),
                "idle": sum(row["county"] == unit.code for row in rows),
            }
            for unit in counties.ROSTER
        ],
        "total": {
            "co_located": len(located),
            "idle": len(rows),
            "reported": sum(row["reported"] for row in rows),
            "not_reported": sum(not row["reported"] for row in rows),
        },
    }
