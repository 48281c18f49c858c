"""Why a case counts as it does: its registers with the events that set them, and what became of every event in the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from services.metrics.domain.cases import EMPTY, MEASURES, CaseEvent, CaseState, Contribution, in_order, merge, registers, view
from shared.clock import rfc3339

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(microseconds: int) -> datetime:
    """An instant kept as microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=microseconds)


def contributed(contribution: Contribution | None) -> dict[str, date]:
    """Each measure that a case counts for, with the business day it counts under."""
    if contribution is None:
        return {}
    start = _EPOCH.date()
    named = zip(MEASURES, contribution.days, strict=True)
    return {measure: start + timedelta(days=day) for measure, day in named if day is not None}


def missing(county: str | None, item: str | None) -> list[str]:
    """What no event has named yet, so that the case cannot be counted."""
    return [name for name, value in (("county", county), ("item", item)) if value is None]


def describe(state: CaseState) -> dict[str, Any]:
    """A case in full: what it shows, what it counts for, and each register with its value and the event that set it."""
    shown = view(state)
    return {
        "data_version": state.version,
        "deleted": shown.deleted,
        "placed": not missing(shown.county, shown.item),
        "missing": missing(shown.county, shown.item),
        "county": shown.county,
        "item": shown.item,
        "contributes": contributed(shown.contribution),
        "registers": {
            name: {"value": _value(name, event, shown.deleted), "event": _event(event)}
            for name, event in registers(state.events).items()
        },
    }


def _value(name: str, event: CaseEvent, deleted: bool) -> Any:
    if name == "delete":
        return deleted
    if name.startswith("step:"):
        if event.operation == "retract" or event.occurred_at is None:
            return None
        return {"occurred_at": _text(event.occurred_at), **({"outcome": event.outcome} if event.outcome else {})}
    return getattr(event, name)


def _event(event: CaseEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "recorded_at": _text(event.recorded_at),
        "operation": event.operation,
        "step": event.step,
        "occurred_at": None if event.occurred_at is None else _text(event.occurred_at),
    }


def _text(microseconds: int) -> str:
    return rfc3339(instant(microseconds))


class Logged(NamedTuple):
    """One event of a case where it stands in its partition."""

    offset: int
    version: int
    event: CaseEvent


Why = Literal["later", "id", "digest"]
"""What decided between two events that name one register: ``recorded_at``, then the id's bytes, then the content's digest."""


class Loss(NamedTuple):
    """A register that the event at ``offset`` took, being greater by ``why``."""

    register: str
    offset: int
    why: Why


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event.

    ``repeats`` is the offset of the same event before it, ``outranked_by`` the version that replaced its own; with
    either it was not judged further. Else each register that it names was won or lost.
    """

    logged: Logged
    repeats: int | None = None
    outranked_by: int | None = None
    won: tuple[str, ...] = ()
    lost: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """Every event of a case in the log's order, and the state that they make."""

    outcomes: tuple[Outcome, ...]
    state: CaseState


def explain(logged: Sequence[Logged]) -> History:
    """What each event of one case, given in the order of the log, did to it in the end."""
    version = max((one.version for one in logged), default=0)
    judged = [one.event for one in logged if one.version == version]
    winners = registers(in_order(judged))
    first: dict[tuple[int, CaseEvent], int] = {}
    for one in logged:
        first.setdefault((one.version, one.event), one.offset)
    at = {event: offset for (of_version, event), offset in first.items() if of_version == version}
    outcomes = []
    for one in logged:
        before = first[one.version, one.event]
        if before != one.offset:
            outcomes.append(Outcome(one, repeats=before))
        elif one.version < version:
            outcomes.append(Outcome(one, outranked_by=version))
        else:
            outcomes.append(_judge(one, winners, at))
    return History(tuple(outcomes), merge(EMPTY, version, judged))


def _judge(one: Logged, winners: Mapping[str, CaseEvent], at: Mapping[CaseEvent, int]) -> Outcome:
    won: list[str] = []
    lost: list[Loss] = []
    for name in registers([one.event]):
        winner = winners[name]
        if winner == one.event:
            won.append(name)
        else:
            lost.append(Loss(name, at[winner], _why(one.event, winner)))
    return Outcome(one, won=tuple(won), lost=tuple(lost))


def _why(loser: CaseEvent, winner: CaseEvent) -> Why:
    if winner.recorded_at != loser.recorded_at:
        return "later"
    return "id" if winner.id != loser.id else "digest"
