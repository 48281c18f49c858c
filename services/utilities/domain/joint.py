"""Joint installation (联合报装): what a case, the registry and the companies' installations come to. Pure.

Nothing is ever opened by hand: each service that the case asks for is a part, and the parts find their installations. So it
cannot matter whether the companies or the case came first.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from services.utilities.domain.joint_cases import JointCase
from services.utilities.domain.steps import USUAL_ORDER, day_of
from shared.events.case import Service
from shared.events.progress import RegistryState

_PLACE: Final = {step.value: place for place, step in enumerate(USUAL_ORDER)}
_SERVICES: Final = {service: place for place, service in enumerate(Service)}
_CLOSED: Final = ("connected", "cancelled")


class Answer(NamedTuple):
    """A live installation that names a case: its subject, and its state as told."""

    subject: str
    state: Mapping[str, Any]

    @property
    def closed(self) -> str | None:
        return next((step for step in _CLOSED if step in self.state["steps"]), None)

    @property
    def began_at(self) -> datetime | None:
        return min((_instant(at) for at in self.state["steps"].values()), default=None)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


Serving = Mapping[tuple[str, str], Sequence[RegistryState]]
"""The registry's pairs by county and service."""


def serving(registry: Iterable[RegistryState]) -> Serving:
    """The registry, to be asked."""
    found: dict[tuple[str, str], list[RegistryState]] = {}
    for state in registry:
        found.setdefault((state.county, state.service), []).append(state)
    return found


def derive(cases: Sequence[JointCase], answers: Sequence[Answer], registry: Serving) -> dict[str, dict[str, Any]]:
    """The states of the joint installations of one case number, by subject, as :class:`shared.events.progress.JointState`
    has them in JSON.

    ``cases`` are the live cases that bear the number, each of another source; ``answers`` the installations that name it.
    One that does not say which source is meant answers the only case; where there are several it answers none.
    """
    found = {}
    for case in cases:
        mine = [answer for answer in answers if _is_meant(answer, case, alone=len(cases) == 1)]
        unclear = [answer.subject for answer in answers if len(cases) > 1 and answer.state.get("case_source") is None]
        found[case.subject] = _joint(case, mine, unclear, registry)
    return found


def _is_meant(answer: Answer, case: JointCase, *, alone: bool) -> bool:
    source = answer.state.get("case_source")
    return source == case.source or (source is None and alone)


def _joint(case: JointCase, answers: Sequence[Answer], unclear: Sequence[str], registry: Serving) -> dict[str, Any]:
    opened_on = day_of(case.opened_at) if case.opened_at is not None else None
    parts = [
        _part(service, [a for a in answers if a.state.get("service") == service], _companies(case, service, opened_on, registry))
        for service in sorted(case.services, key=_SERVICES.__getitem__)
    ]
    told: dict[str, Any] = {
        "case_no": case.case_no,
        "case_source": case.source,
        "status": "open",
        "parts": parts,
        "unasked": sorted(a.subject for a in answers if a.state.get("service") not in case.services),
        "ambiguous": sorted(unclear),
    }
    if case.county is not None:
        told["county"] = case.county
    if opened_on is not None:
        told["opened_on"] = opened_on.isoformat()
    open_parts = [part for part in parts if part["status"] not in _CLOSED]
    if parts and not open_parts:
        last = max(parts, key=lambda part: (part["ended_on"], -_SERVICES[part["service"]]))
        told |= {"status": "complete", "ended_on": last["ended_on"], "slowest": last["service"]}
    elif case.ended_by is not None and case.ended_at is not None:
        told |= {"status": "ended", "ended_on": day_of(case.ended_at).isoformat(), "ended_by": case.ended_by}
    elif open_parts:
        told["slowest"] = min(open_parts, key=_behind)["service"]
    return told


def _behind(part: Mapping[str, Any]) -> tuple[int, str, int]:
    """The furthest behind first: nobody to do it, nobody who reports, then by step; of equals who has not moved for longest."""
    if part["status"] == "no_company":
        return -3, "", _SERVICES[part["service"]]
    if part["status"] == "unreported":
        return -2, "", _SERVICES[part["service"]]
    return _PLACE.get(part.get("step", ""), -1), part.get("last_on", ""), _SERVICES[part["service"]]


def _companies(case: JointCase, service: Service, day: date | None, registry: Serving) -> list[str]:
    """Who serves the case's county on the day it was opened; whoever ever did, where no day is known."""
    return sorted(
        state.company
        for state in registry.get((case.county or "", service), ())
        if any(
            p.valid_from <= (day or p.valid_from) and (p.valid_to is None or (day or p.valid_from) < p.valid_to)
            for p in state.periods
        )
    )


def _part(service: Service, answers: Sequence[Answer], companies: Sequence[str]) -> dict[str, Any]:
    part: dict[str, Any] = {"service": service, "status": "no_company"}
    if companies:
        part |= {"status": "unreported", "companies": list(companies)}
    if len(companies) == 1:
        part["company"] = companies[0]
    taken, *others = sorted(answers, key=_first_to_take_it) if answers else (None,)
    if taken is None:
        return part
    state = taken.state
    is_paused = any("to_on" not in pause for pause in state["pauses"])
    part["status"] = taken.closed or ("paused" if is_paused else "in_progress")
    part |= {name: state[name] for name in _AS_TOLD if name in state}
    if state["steps"]:
        part["last_on"] = day_of(max(map(_instant, state["steps"].values()))).isoformat()
    if taken.closed is not None:
        part["ended_on"] = day_of(_instant(state["steps"][taken.closed])).isoformat()
    if others:
        part["others"] = [answer.subject for answer in others]
    return part


_AS_TOLD: Final = ("company", "installation_no", "step", "next_step", "waits_on", "due_step", "due_on")


def _first_to_take_it(answer: Answer) -> tuple[bool, bool, float, str]:
    """Who began first has it; one that was cancelled gives way to another that goes on."""
    began = answer.began_at
    return answer.closed == "cancelled", began is None, began.timestamp() if began is not None else 0.0, answer.subject
