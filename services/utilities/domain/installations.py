"""How the events of one installation merge, and what is derived from them (CONTRACT §2)."""

from collections.abc import Hashable, Iterable, Iterator
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from services.utilities.domain import steps as in_time
from services.utilities.domain.limits import DueStep, TimeLimits, outlook
from services.utilities.domain.registers import Event, State, newest_version
from services.utilities.domain.steps import REPEATING, Timing, iso
from services.utilities.domain.wire import InstallationData
from shared.clock import rfc3339
from shared.events.case import Operation
from shared.events.utility import InstallationStep

ATTRIBUTES: Final = ("county", "service", "case_no", "case_source", "customer_kind")
"""Each is a register of its own; an event that does not name one says nothing about it."""

_USUAL_ORDER: Final = {step: place for place, step in enumerate(InstallationStep)}

Known = State[InstallationData]


def merge(old: Iterable[Event[InstallationData]], new: Iterable[Event[InstallationData]]) -> Known:
    """The state after both: the highest ``data_version`` alone counts, and in it each register's winner."""
    return newest_version([*old, *new], _registers)


def _registers(data: InstallationData) -> Iterator[Hashable]:
    if data.operation is Operation.DELETE:
        yield "deleted"
    else:
        yield (data.step, data.occurred_at) if data.step in REPEATING else (data.step,)
    if data.county is not None:
        yield "county"
    if data.service is not None:
        yield "service"
    if data.case_no is not None:
        yield "case_no"
    if data.case_source is not None:
        yield "case_source"
    if data.customer_kind is not None:
        yield "customer_kind"


def is_deleted(state: Known) -> bool:
    """Whether its latest delete is not older than its latest other event, by time recorded, then id.

    Both are always kept: the latest other event holds its own step's register. A later event revives the installation.
    """
    deletes = [event.mark for event in state if event.data.operation is Operation.DELETE]
    if not deletes:
        return False
    others = [event.mark for event in state if event.data.operation is not Operation.DELETE]
    return not others or max(deletes) >= max(others)


class Standing(NamedTuple):
    """What the winning events come to: attributes, the steps that happened (pauses aside), and pauses."""

    attributes: dict[str, Any]
    steps: dict[InstallationStep, datetime]
    paused: list[datetime]
    resumed: list[datetime]


def standing(state: Known) -> Standing:
    """What is known now. ``state`` is by rising mark, so what comes later in it overwrites."""
    attributes: dict[str, Any] = {}
    registers: dict[tuple[InstallationStep, datetime | None], datetime | None] = {}
    for event in state:
        data = event.data
        for name in ATTRIBUTES:
            if (value := getattr(data, name)) is not None:
                attributes[name] = value
        if data.step is not None and data.operation is not Operation.DELETE:
            register = (data.step, data.occurred_at if data.step in REPEATING else None)
            registers[register] = data.occurred_at if data.operation is Operation.UPSERT else None
    happened = sorted((at, _USUAL_ORDER[step], step) for (step, _), at in registers.items() if at is not None)
    return Standing(
        attributes,
        {step: at for at, _, step in happened if step not in REPEATING},
        [at for at, _, step in happened if step is InstallationStep.PAUSED],
        [at for at, _, step in happened if step is InstallationStep.RESUMED],
    )


class Description(NamedTuple):
    """An installation as told, and what its due dates follow from."""

    state: dict[str, Any]
    timing: Timing
    due_steps: list[DueStep]


def describe(state: Known, limits: TimeLimits) -> Description:
    """What is known of the installation now, whether deleted or not, as
    :class:`shared.events.progress.InstallationState` has it in JSON, absent values left out."""
    attributes, steps, paused, resumed = standing(state)
    service, kind = attributes.get("service"), attributes.get("customer_kind")
    stills, odd = in_time.standstills(paused, resumed) if paused or resumed else ([], set())
    pauses = in_time.pauses(stills, in_time.ended_at(steps)) if stills else ()
    timing = in_time.timing(service, kind, steps, pauses)
    due_steps = limits.due_steps(timing)
    season = limits.season(service)
    in_season = season.covers if season is not None else _always
    needs_permit = limits.needs_permit(service, kind)
    is_paused = bool(stills) and stills[-1].resumed_at is None
    next_step, waits_on = in_time.turn(steps, is_paused, needs_permit, in_season)
    told: dict[str, Any] = {
        "installation_no": state[0].data.installation_no,
        "company": state[0].data.company,
        "data_version": state[0].data.data_version,
        **attributes,
        "steps": {step.value: rfc3339(at) for step, at in steps.items()},
        "paused": [rfc3339(at) for at in paused],
        "resumed": [rfc3339(at) for at in resumed],
        "pauses": [_days(from_on=begin, to_on=end) for begin, end in pauses],
        "limits": [_told(step) for step in due_steps],
        "anomalies": list(in_time.anomalies(steps, stills, odd, needs_permit, in_season)),
    }
    if steps:
        told["step"] = next(reversed(steps))
    if next_step is not None:
        told |= {"next_step": next_step, "waits_on": waits_on}
    due = outlook(due_steps).due
    told["provisional"] = due is not None and due.provisional
    if due is not None:
        told |= {"due_step": due.step, **_days(due_on=due.due_on, due_soon_from=due.due_soon_from)}
    return Description(told, timing, due_steps)


def _always(_: date) -> bool:
    return True


def _told(due: DueStep) -> dict[str, Any]:
    step, since, working_days, due_on, due_soon_from, ended_on, provisional = due
    days = _days(since=since, due_on=due_on, due_soon_from=due_soon_from, ended_on=ended_on)
    return {"step": step, "working_days": working_days, "provisional": provisional, **days}


def _days(**ordinals: int | None) -> dict[str, str]:
    return {name: iso(day) for name, day in ordinals.items() if day is not None}
