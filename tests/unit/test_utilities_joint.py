"""Cases of joint installation merge by any way, and what is derived of them; held against plain Python over the events as sent."""

import random
from datetime import date
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from services.utilities.domain.joint import Answer, derive, serving
from services.utilities.domain.joint_cases import Known, key_of, may_matter, merge, read, view
from services.utilities.domain.registers import dump, loader
from services.utilities.domain.wire import CaseData
from shared.events.case import Service
from shared.events.progress import JointState, RegistryPeriod, RegistryState

SOURCE = "urn:onething:province:hebei"
MOMENTS = st.sampled_from([f"2024-05-01T08:0{minute}:00Z" for minute in range(5)])
load = loader(CaseData)


@st.composite
def case_events(draw: st.DrawFn) -> dict[str, Any]:
    operation = draw(st.sampled_from(["upsert", "upsert", "upsert", "retract", "delete"]))
    data: dict[str, Any] = {"case_no": "C1", "recorded_at": draw(MOMENTS), "operation": operation}
    data["data_version"] = draw(st.sampled_from([1, 1, 1, 2]))
    if operation != "delete":
        data |= {"step": draw(st.sampled_from(["applied", "accepted", "withdrawn", "voided"])), "occurred_at": draw(MOMENTS)}
    for name, values in {
        "item": st.sampled_from(["joint-installation", "joint-installation", "credit-repair"]),
        "county": st.sampled_from(["130607", "130608"]),
        "services": st.sampled_from([["power"], ["gas", "water"], []]),
    }.items():
        if draw(st.booleans()):
            data[name] = draw(values)
    return {
        "specversion": "1.0", "id": draw(st.sampled_from("abcd")), "source": SOURCE, "type": "cn.onething.case.step.v1",
        "subject": "C1", "data": data,
    }  # fmt: skip


def _by_any_way(events: list[dict[str, Any]], chance: random.Random) -> Known:
    sent = [*events, *chance.choices(events, k=len(events) // 2)]
    chance.shuffle(sent)
    state: Known = ()
    while sent:
        size = chance.randint(1, len(sent))
        state = load(dump(merge(state, [read(orjson.dumps(event)) for event in sent[:size]])))
        sent = sent[size:]
    return state


def _expected(events: list[dict[str, Any]]) -> tuple[Any, ...] | None:
    """Item, county, services and steps by the last word of each, in the order of recorded time and id."""
    version = max(event["data"]["data_version"] for event in events)
    live = sorted((e for e in events if e["data"]["data_version"] == version), key=lambda e: (e["data"]["recorded_at"], e["id"]))
    said: dict[str, Any] = {}
    steps: dict[str, str] = {}
    deleted = False
    for event in live:
        data = event["data"]
        said |= {name: data[name] for name in ("item", "county", "services") if name in data}
        deleted = data["operation"] == "delete"
        if data["operation"] == "upsert":
            steps[data["step"]] = data["occurred_at"]
        elif not deleted:
            steps.pop(data["step"], None)
    if deleted or said.get("item") != "joint-installation":
        return None
    ended = min(((at, step) for step, at in steps.items() if step in ("withdrawn", "voided")), default=None)
    return said.get("county"), tuple(said.get("services", ())), min(steps.values(), default=None), ended and ended[0]


@settings(deadline=None)
@given(
    st.lists(case_events(), min_size=1, max_size=10, unique_by=lambda e: (e["id"], e["data"]["recorded_at"])),
    st.randoms(use_true_random=False),
)
def test_a_case_is_what_was_said_last_by_any_way(events: list[dict[str, Any]], chance: random.Random) -> None:
    first, second = _by_any_way(events, chance), _by_any_way(events, chance)
    assert first == second
    case = view(first)
    found = case and (
        case.county, case.services, case.opened_at and case.opened_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        case.ended_at and case.ended_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )  # fmt: skip
    assert found == _expected(events)


@given(case_events())
def test_a_record_is_passed_over_only_when_it_names_another_item(event: dict[str, Any]) -> None:
    value = orjson.dumps(event)
    assert may_matter(value) == (event["data"].get("item") in (None, "joint-installation"))
    assert key_of(value) == (SOURCE, "C1")


def _serves(company: str, begins: str, ends: str | None = None) -> RegistryState:
    return RegistryState(
        county="130607", company=company, name=company, service=Service.POWER,
        periods=(RegistryPeriod(valid_from=date.fromisoformat(begins), valid_to=ends and date.fromisoformat(ends)),),
    )  # fmt: skip


def _answer(company: str, *steps: tuple[str, str]) -> Answer:
    told = {step: f"{day}T01:00:00Z" for step, day in steps}
    state = {"company": company, "installation_no": "AZ1", "service": "power", "case_no": "C1", "steps": told, "pauses": []}
    return Answer(f"{company}/AZ1", state | {"step": steps[-1][0]})


def _derived(answers: list[Answer], registry: list[RegistryState]) -> JointState:
    opened = {"step": "applied", "occurred_at": "2024-05-06T01:00:00Z", "item": "joint-installation", "county": "130607"}
    data = {"case_no": "C1", "recorded_at": "2024-05-06T01:00:00Z", "services": ["power"]} | opened
    event = {"specversion": "1.0", "id": "a", "source": SOURCE, "type": "cn.onething.case.step.v1", "subject": "C1", "data": data}
    case = view(merge((), [read(orjson.dumps(event))]))
    assert case is not None
    (state,) = derive([case], answers, serving(registry)).values()
    return JointState.model_validate(state)


def test_the_company_is_that_of_the_day_on_which_the_case_was_opened() -> None:
    state = _derived([], [_serves("was", "2023-01-01", "2024-05-06"), _serves("is", "2024-05-06"), _serves("comes", "2024-05-07")])
    assert (state.parts[0].companies, state.parts[0].company) == (("is",), "is")


def test_the_first_to_take_it_up_has_it_until_it_is_cancelled() -> None:
    late, early = _answer("late", ("accepted", "2024-05-08")), _answer("early", ("accepted", "2024-05-07"))
    carriers = [_serves("late", "2023-01-01"), _serves("early", "2023-01-01")]
    for answers in ([late, early], [early, late]):
        part = _derived(answers, carriers).parts[0]
        assert (part.company, part.others) == ("early", ("late/AZ1",))
    given_up = _answer("early", ("accepted", "2024-05-07"), ("cancelled", "2024-05-09"))
    state = _derived([late, given_up], carriers)
    assert (state.parts[0].company, state.status) == ("late", "open")
    both = _derived([_answer("late", ("accepted", "2024-05-08"), ("cancelled", "2024-05-10")), given_up], carriers)
    assert (both.status, str(both.ended_on)) == ("complete", "2024-05-09")
