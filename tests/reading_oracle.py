"""What metrics must answer of snapshots, in plain Python, day by day: it shares no code with the service.

States are as ``tests/utilities_oracle.py`` tells them: JSON of snapshots. Days are ISO strings, which compare as days do.
"""

from datetime import date, timedelta
from statistics import median
from typing import Any

from tests.utilities_oracle import day_of, is_working, stands_still

State = dict[str, Any]
NUMBERS = ["opened", "connected", "cancelled", "in_progress", "due_soon", "overdue"]
DAY = timedelta(days=1)


def days_of(state: State) -> dict[str, date]:
    return {step: day_of(at) for step, at in state["steps"].items()}


def runs(limit: State, day: date) -> bool:
    return limit["since"] <= str(day) and not ("ended_on" in limit and limit["ended_on"] <= str(day))


def is_overdue(state: State, day: date) -> bool:
    return any(runs(limit, day) and limit.get("due_on", "9999") < str(day) for limit in state["limits"])


def is_due_soon(state: State, day: date) -> bool:
    if stands_still(state, day) or is_overdue(state, day):
        return False
    return any(runs(limit, day) and limit.get("due_soon_from", "9999") <= str(day) for limit in state["limits"])


def working_days(state: State) -> int | None:
    """Working days after acceptance up to connection, counted one by one, but those at whose end it stood still."""
    days = days_of(state)
    if not {"accepted", "connected"} <= days.keys() or days["connected"] < days["accepted"]:
        return None
    every = (days["accepted"] + DAY * n for n in range(1, (days["connected"] - days["accepted"]).days + 1))
    return sum(is_working(day) and not stands_still(state, day) for day in every)


def is_a(name: str, state: State, day: date) -> bool:
    """Whether the installation counts for the number of that name at the end of ``day``."""
    happened = {step for step, on in days_of(state).items() if on <= day}
    if not happened:
        return False
    over = {"connected", "cancelled"} & happened
    return {
        "opened": True,
        "connected": "connected" in over,
        "cancelled": over == {"cancelled"},
        "in_progress": not over,
        "due_soon": is_due_soon(state, day),
        "overdue": is_overdue(state, day),
    }[name]


def row(states: list[State], day: date) -> dict[str, Any]:
    """The numbers of one row of ``/v1/installations``."""
    told: dict[str, Any] = {name: sum(is_a(name, state, day) for state in states) for name in NUMBERS}
    durations = [n for state in states if is_a("connected", state, day) and (n := working_days(state)) is not None]
    return told | {"median_working_days": median(durations) if durations else None}


def since(name: str, state: State, day: date) -> date:
    """The day from which it has been counted so, without a break, up to ``day``."""
    while is_a(name, state, day - DAY):
        day -= DAY
    return day


def moved_on(state: State) -> set[date]:
    """Every day on which anything was reported to have happened."""
    return {day_of(at) for at in [*state["steps"].values(), *state["paused"], *state["resumed"]]}


def period_on(presence: State, day: date) -> State | None:
    in_force = None
    for period in presence["periods"]:
        if period["effective_on"] <= str(day):
            in_force = period
    return in_force


def is_co_located(presence: State, day: date) -> bool:
    period = period_on(presence, day)
    return (
        period is not None
        and period["level"] in ("comprehensive_window", "own_window")
        and set(period["handles"]) == {"joint_installation", "public_service"}
    )


def is_registered(registry: State, day: date) -> bool:
    return any(p["valid_from"] <= str(day) and str(day) < p.get("valid_to", "9999") for p in registry["periods"])


def idle(
    registry: list[State], presence: list[State], installations: list[State], windows: list[State], first: date, last: date
) -> dict[tuple[str, str, str], bool]:
    """The idle windows of the days from ``first`` to ``last``, and whether each is one that reported zero."""

    def place(state: State) -> tuple[str, str, str]:
        return state["county"], state["company"], state["service"]

    every_day = [first + DAY * n for n in range((last - first).days + 1)]
    on_the_books = {place(state) for state in registry if is_registered(state, last)}
    found = {}
    for state in presence:
        here = place(state)
        if here not in on_the_books or not is_co_located(state, last):
            continue
        mine = [one for one in installations if (one.get("county"), one["company"], one.get("service")) == here]
        if any(first <= day <= last for one in mine for day in moved_on(one)):
            continue
        reports = {one["month"]: one["public_service_handled"] for one in windows if place(one) == here}
        in_window = {month: n for month, n in reports.items() if month in {str(day)[:7] for day in every_day}}
        if sum(in_window.values()):
            continue
        month_ends = [day for day in every_day if (day + DAY).day == 1 and is_co_located(state, day)]
        found[here] = bool(in_window) and all(str(day)[:7] in in_window for day in month_ends)
    return found
