"""Co-location (进驻): which companies of the registry really handle their business in the county's hall, on a day."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from shared import counties
from shared.events.case import Service
from shared.events.progress import PresencePeriod, PresenceState, RegistryState
from shared.events.utility import Business, Level

_WINDOWS = frozenset({Level.COMPREHENSIVE_WINDOW, Level.OWN_WINDOW})
_BOTH = frozenset(Business)


def is_co_located(level: Level, handles: Iterable[Business]) -> bool:
    """A window of its own or a place at the comprehensive one, and handling both kinds of business (CONTRACT §2)."""
    return level in _WINDOWS and set(handles) >= _BOTH


def period_at(periods: Sequence[PresencePeriod], day: date) -> PresencePeriod | None:
    """The period in force on ``day``; ``None`` before the first."""
    in_force = None
    for period in sorted(periods, key=lambda p: p.effective_on):
        if period.effective_on <= day:
            in_force = period
    return in_force


def serves_on(state: RegistryState, day: date) -> bool:
    """Whether the registry has the company serve the county with this service on ``day``."""
    return any(p.valid_from <= day and (p.valid_to is None or day < p.valid_to) for p in state.periods)


def co_location(registry: Iterable[RegistryState], presence: Iterable[PresenceState], as_of: date) -> dict[str, Any]:
    """The answer of ``/v1/co-location``: a row for every unit of the roster, and the pooled total.

    ``applicable`` counts the pairs of company and service that the registry has on ``as_of``; ``none_at_all`` holds where
    no company stands above level ``none``, in the registry or not.
    """
    applicable: dict[str, dict[tuple[str, Service], str]] = defaultdict(dict)
    for state in registry:
        if serves_on(state, as_of):
            applicable[state.county][state.company, state.service] = state.name
    standing = {(state.county, state.company, state.service): period_at(state.periods, as_of) for state in presence}
    in_a_hall = {county for (county, _, _), period in standing.items() if period is not None and period.level != Level.NONE}

    rows = []
    for county in counties.ROSTER:
        pairs = sorted(applicable[county.code].items())
        companies = [_company(*pair, name, standing.get((county.code, *pair))) for pair, name in pairs]
        co_located = sum(company["co_located"] for company in companies)
        rows.append(
            {
                "county": county.code,
                "name": county.name,
                "applicable": len(pairs),
                "co_located": co_located,
                "rate": _rate(co_located, len(pairs)),
                "none_at_all": county.code not in in_a_hall,
                "companies": companies,
            }
        )
    whole = sum(row["applicable"] for row in rows)
    placed = sum(row["co_located"] for row in rows)
    none_at_all = sum(row["none_at_all"] for row in rows)
    return {
        "counties": rows,
        "total": {"applicable": whole, "co_located": placed, "rate": _rate(placed, whole), "none_at_all": none_at_all},
    }


def _company(company: str, service: Service, name: str, period: PresencePeriod | None) -> dict[str, Any]:
    level = period.level if period else Level.NONE
    handles = sorted(period.handles) if period else []
    return {
        "company": company,
        "name": name,
        "service": service,
        "level": level,
        "handles": handles,
        "since": period.effective_on if period else None,
        "co_located": is_co_located(level, handles),
    }


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None
