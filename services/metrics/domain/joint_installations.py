"""Joint installations as of a day: how each part stood, who held the others up, and what was waited for.

A snapshot says how things stand now. For an earlier day each part is read from its installation's steps, by present
knowledge: who has the part, and what it asks for, are as they are now (``docs/installations.md``).
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from services.metrics.domain.installations import due, last_step, status
from shared import counties
from shared.clock import business_day
from shared.events.case import Service
from shared.events.progress import InstallationState, JointPart, JointState
from shared.events.utility import InstallationStep

_CLOSED: Final = ("connected", "cancelled")
_PLACE: Final = {step: place for place, step in enumerate(InstallationStep)}
_SERVICES: Final = {service: place for place, service in enumerate(Service)}


def subject_of(part: JointPart) -> str | None:
    """The installation that answers the part, as its snapshot is known; ``None`` where none does."""
    return None if part.installation_no is None else f"{part.company}/{part.installation_no}"


def joint_installation(row: Mapping[str, Any], installations: Mapping[str, InstallationState], as_of: date) -> dict[str, Any]:
    """One joint installation at the end of ``as_of``. ``row`` has its days, and its ``state`` as told; ``installations`` the
    states of those that answer it, by subject."""
    state = JointState.model_validate(row["state"])
    ended = state.ended_on is not None and state.ended_on <= as_of
    parts = [_part(part, installations.get(subject_of(part) or ""), as_of) for part in state.parts]
    waiting = [part for part in parts if part["status"] not in _CLOSED]
    slowest: Service | None = state.slowest
    if not ended:
        slowest = min(waiting, key=_behind)["service"] if waiting else None
    holds_up = next((part for part in waiting if part["service"] == slowest), None) if not ended else None
    return {
        "case_no": state.case_no,
        "case_source": state.case_source,
        "county": state.county,
        "name": counties.BY_CODE[state.county].name if state.county is not None else None,
        "state": state.status if ended else "open",
        "opened_on": state.opened_on,
        "ended_on": state.ended_on if ended else None,
        "ended_by": state.ended_by if ended else None,
        "working_days": row["working_days"] if ended else None,
        "slowest": slowest,
        "waiting_for": None if holds_up is None else {name: holds_up[name] for name in _WAITED_FOR},
        "parts": parts,
        "unasked": state.unasked,
        "ambiguous": state.ambiguous,
    }


_WAITED_FOR: Final = ("service", "status", "company", "companies", "next_step", "waits_on", "due")


def _part(part: JointPart, state: InstallationState | None, as_of: date) -> dict[str, Any]:
    told: dict[str, Any] = {
        "service": part.service,
        "status": part.status,
        "companies": part.companies,
        "company": part.company,
        "installation_no": part.installation_no,
        "step": part.step,
        "last_on": part.last_on,
        "ended_on": part.ended_on,
        "next_step": part.next_step,
        "waits_on": part.waits_on,
        "due": None,
        "overdue": False,
        "others": part.others,
    }
    if state is None:
        return told
    days = {step: business_day(at) for step, at in state.steps.items()}
    happened = [day for day in days.values() if day <= as_of]
    moved = [*days.values(), *map(business_day, (*state.paused, *state.resumed))]
    if moved and min(moved) > as_of:
        # Nobody had reported yet; who serves the county alone has it all the same.
        only = part.companies[0] if len(part.companies) == 1 else None
        waits = {"status": "unreported" if part.companies else "no_company", "company": only}
        return told | waits | dict.fromkeys(("installation_no", "step", "last_on", "ended_on", "next_step", "waits_on"))
    connected, cancelled = days.get(InstallationStep.CONNECTED), days.get(InstallationStep.CANCELLED)
    paused = state.paused_on(as_of)
    standing = status(connected, cancelled, as_of, paused=paused)
    told |= {
        "status": standing,
        "step": last_step(state, as_of),
        "last_on": max(happened, default=None),
        "ended_on": {"connected": connected, "cancelled": cancelled}.get(standing),
        "due": due(state, as_of),
        "overdue": state.overdue_on(as_of),
    }
    if standing in _CLOSED:
        return told | {"next_step": None, "waits_on": None}
    if later := sorted((at, _PLACE[step], step) for step, at in state.steps.items() if days[step] > as_of):
        told |= {"next_step": later[0][2], "waits_on": "authority" if later[0][2] is InstallationStep.PERMITTED else "company"}
    elif told["waits_on"] == "applicant" and not paused:
        told |= {"waits_on": "authority" if told["next_step"] is InstallationStep.PERMITTED else "company"}
    return told | ({"waits_on": "applicant"} if paused else {})


def _behind(part: Mapping[str, Any]) -> tuple[int, date, int]:
    """The furthest behind first: nobody to do it, nobody who reports, then by step; of equals who has not moved for longest."""
    if part["status"] in ("no_company", "unreported"):
        return -3 if part["status"] == "no_company" else -2, date.min, _SERVICES[part["service"]]
    step = part["step"]
    return -1 if step is None else _PLACE[step], part["last_on"] or date.min, _SERVICES[part["service"]]
