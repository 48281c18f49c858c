"""Co-location (进驻): which companies of the registry really handle their business in the county's hall, on a day.

What counts is said in ``docs/co-location.md``.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from shared import counties
from shared.events.case import Service
from shared.events.progress import PresencePeriod, PresenceState, RegistryState
from shared.events.utility import Business, Level

_WINDOWS = frozenset({Level.COMPREHENSIVE_WINDOW, Level.OWN_WINDOW})
_BOTH = frozenset(Business)
_SERVICES: Final = {service: place for place, service in enumerate(Service)}


class Pair(NamedTuple):
    """A company with a service that it gives in a county."""

    county: str
    company: str
    service: Service


def is_co_located(level: Level, handles: Iterable[Business]) -> bool:
    """A window of its own or a place at the comprehensive one, and handling both kinds of business (CONTRACT §2)."""
    return level in _WINDOWS and set(handles) >= _BOTH


def period_at(periods: Sequence[PresencePeriod], day: date) -> PresencePeriod | None:
    """The period in force on ``day``, from the day on which the company came to stand so; ``None`` before the first.

    A report that says again what stood already begins nothing.
    """
    in_force: PresencePeriod | None = None
    for period in sorted(periods, key=lambda p: p.effective_on):
        if period.effective_on > day:
            break
        if in_force is None or (in_force.level, set(in_force.handles)) != (period.level, set(period.handles)):
            in_force = period
    return in_force


def co_located_since(periods: Sequence[PresencePeriod], day: date) -> date | None:
    """The day from which the company has been co-located without a break up to ``day``; ``None`` where it is not."""
    since: date | None = None
    for period in sorted(periods, key=lambda p: p.effective_on):
        if period.effective_on > day:
            break
        if not is_co_located(period.level, period.handles):
            since = None
        elif since is None:
            since = period.effective_on
    return since


def serves_on(state: RegistryState, day: date) -> bool:
    """Whether the registry has the company serve the county with this service on ``day``."""
    return any(p.valid_from <= day and (p.valid_to is None or day < p.valid_to) for p in state.periods)


def registered_on(registry: Iterable[RegistryState], day: date) -> dict[Pair, str]:
    """The pairs that the registry has on ``day``, with the company's name."""
    return {Pair(s.county, s.company, s.service): s.name for s in registry if serves_on(s, day)}


def co_location(registry: Iterable[RegistryState], presence: Iterable[PresenceState], as_of: date) -> dict[str, Any]:
    """The answer of ``/v1/co-location``: a row for every unit of the roster, by service, and the pooled total.

    ``applicable`` counts the pairs of company and service that the registry has on ``as_of``; ``none_at_all`` holds where
    no company stands above level ``none``, in the registry or not. Those that stand in a hall without being in the registry
    are ``unregistered``: they count for nothing else.
    """
    applicable = registered_on(registry, as_of)
    standing = {Pair(state.county, state.company, state.service): state.periods for state in presence}
    in_force = {pair: period_at(periods, as_of) for pair, periods in standing.items()}
    here = {pair for pair, period in in_force.items() if period is not None and period.level is not Level.NONE}
    told = {pair: _company(pair, name, standing.get(pair, ()), as_of) for pair, name in applicable.items()}

    rows = []
    for county in counties.ROSTER:
        companies = [told[pair] for pair in sorted(told) if pair.county == county.code]
        beyond = [pair for pair in sorted(here) if pair.county == county.code and pair not in told]
        rows.append(
            {
                "county": county.code,
                "name": county.name,
                **_rate_of(companies),
                "none_at_all": not any(pair.county == county.code for pair in here),
                "companies": companies,
                "by_service": _by_service(companies),
                "unregistered": [_company(pair, None, standing[pair], as_of) for pair in beyond],
            }
        )
    return {
        "as_of": as_of,
        "counties": rows,
        "by_service": _by_service(told.values()),
        "total": {**_rate_of(told.values()), "none_at_all": sum(row["none_at_all"] for row in rows)},
    }


def _company(pair: Pair, name: str | None, periods: Sequence[PresencePeriod], day: date) -> dict[str, Any]:
    period = period_at(periods, day)
    level = period.level if period else Level.NONE
    handles = sorted(period.handles) if period else []
    since = co_located_since(periods, day)
    return {
        "company": pair.company,
        **({} if name is None else {"name": name}),
        "service": pair.service,
        "level": level,
        "handles": handles,
        "since": period.effective_on if period else None,
        "co_located": is_co_located(level, handles),
        "co_located_since": since,
    }


def _by_service(companies: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Services that somebody has to give there, in their usual order."""
    groups: dict[Service, list[dict[str, Any]]] = {}
    for company in companies:
        groups.setdefault(company["service"], []).append(company)
    return [{"service": service, **_rate_of(groups[service])} for service in sorted(groups, key=_SERVICES.__getitem__)]


def _rate_of(companies: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """``rate`` is a fraction; ``None`` where nobody is applicable."""
    placed = [company["co_located"] for company in companies]
    return {
        "applicable": len(placed),
        "co_located": sum(placed),
        "rate": sum(placed) / len(placed) if placed else None,
    }
