"""Installations and joint installations: the figures, and what stands behind them."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final, Literal, NamedTuple

from services.metrics.domain import installations as rules
from services.metrics.domain import joint_installations as joint_rules
from services.metrics.store import matters, snapshots
from services.metrics.store.matters import State
from shared.events.progress import InstallationState, JointState
from shared.postgres import Connection

Listed = Literal[State, "unplaced"]
JointStatus = Literal["open", "complete", "ended"]

_JOINT: Final[dict[JointStatus, State]] = {"open": "in_progress", "complete": "connected", "ended": "cancelled"}


class Key(NamedTuple):
    """Where a page ended."""

    since: date
    subject: str


class Page(NamedTuple):
    """Rows, the key of the next page where there is one, and on the first page how many there are in all."""

    rows: list[dict[str, Any]]
    next: Key | None
    counts: dict[str, int] | None


async def figures(db: Connection, *, as_of: date, county: str | None, service: str | None) -> dict[str, Any]:
    """The answer of ``/v1/installations``."""
    tallies = await matters.tally(db, "installation", as_of=as_of, county=county, service=service)
    return {"as_of": as_of, "county": county, "service": service, **rules.figures(tallies, county, service)}


async def listed(
    db: Connection,
    state: Listed,
    *,
    as_of: date,
    county: str | None,
    service: str | None,
    company: str | None,
    after: Key | None,
    limit: int,
) -> Page:
    """The installations that a number of :func:`figures` counts, by the day from which they stood so, the oldest first.

    Those that are not placed are only among the ``unplaced``.
    """
    unplaced = state == "unplaced"
    which: State = "opened" if state == "unplaced" else state
    chosen: dict[str, Any] = {"as_of": as_of, "county": county, "service": service, "party": company, "placed": not unplaced}
    found = await matters.listed(db, "installation", which, **chosen, after=after, most=limit + 1)
    count = await matters.count(db, "installation", which, **chosen) if after is None else None
    rows = [rules.listed(row, as_of) for row in found[:limit]]
    return Page(rows, _next(found, limit), None if count is None else {"count": count})


async def joint(
    db: Connection, status: JointStatus | None, *, as_of: date, county: str | None, after: Key | None, limit: int
) -> Page:
    """Joint installations that were opened up to ``as_of``, the oldest first; ``status`` is that of the day."""
    state = _JOINT[status] if status is not None else "opened"
    found = await matters.listed(db, "joint", state, as_of=as_of, county=county, after=after, most=limit + 1)
    shown = found[:limit]
    parts = [part for row in shown for part in JointState.model_validate(row["state"]).parts]
    subjects = {subject for part in parts if (subject := joint_rules.subject_of(part)) is not None}
    told = await snapshots.of_subjects(db, "installation", subjects) if subjects else {}
    states = {subject: InstallationState.model_validate(content) for subject, content in told.items()}
    counts = None
    if after is None:
        tallies = await matters.tally(db, "joint", as_of=as_of, county=county, service=None)
        sums = {name: sum(tally[column] for tally in tallies) for name, column in _JOINT.items()}
        count = sums[status] if status is not None else sum(sums.values())
        counts = {"count": count} | {str(name): number for name, number in sums.items()}
    return Page([joint_rules.joint_installation(row, states, as_of) for row in shown], _next(found, limit), counts)


def _next(found: Sequence[dict[str, Any]], limit: int) -> Key | None:
    return Key(found[limit - 1]["since"], found[limit - 1]["subject"]) if len(found) > limit else None
