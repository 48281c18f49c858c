"""Joint installations as of a day: once everything has happened, the day's reading is what the snapshot says."""

from datetime import UTC, date, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.metrics.domain.joint_installations import joint_installation, subject_of
from services.utilities.domain.joint import Answer, derive
from services.utilities.domain.joint_cases import JointCase
from shared.events.case import Service
from shared.events.progress import InstallationState, JointState
from tests import utilities_oracle

SERVICES = (Service.WATER, Service.DRAINAGE, Service.GAS, Service.POWER, Service.HEAT)
PAIRS = [("130607", f"{service}-1", service.value) for service in SERVICES[:4]]
AFTERWARDS = date(2025, 1, 1)


def told(seed: int) -> dict[str, dict[str, Any]]:
    """Installations of a few services, by subject, all for the case C."""
    events = utilities_oracle.season(seed, PAIRS, installations=5)
    states = utilities_oracle.told(events)
    return {
        subject: {**state, "case_no": "C"}
        for (kind, subject), state in states.items()
        if kind == "installation" and state is not None
    }


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000), st.sets(st.sampled_from(SERVICES), min_size=1))
def test_afterwards_it_stands_as_told_and_before_nobody_had_reported(seed: int, services: set[Service]) -> None:
    states = told(seed)
    case = JointCase("C", "urn:s", "130607", tuple(sorted(services)), datetime(2024, 2, 1, tzinfo=UTC), None, None)
    ((_, content),) = derive([case], [Answer(subject, state) for subject, state in states.items()], {}).items()
    joint = JointState.model_validate(content)
    answering = {subject_of(part) for part in joint.parts}
    installations = {s: InstallationState.model_validate(state) for s, state in states.items() if s in answering}
    row = joint_installation({"state": content, "working_days": None}, installations, AFTERWARDS)
    assert (row["state"], row["slowest"], row["ended_on"]) == (joint.status, joint.slowest, joint.ended_on)
    for part, found in zip(joint.parts, row["parts"], strict=True):
        for name in ("service", "status", "company", "installation_no", "step", "last_on", "ended_on", "next_step", "waits_on"):
            assert found[name] == getattr(part, name), name
        if part.due_on is not None:
            assert found["due"]["due_on"] == part.due_on
    if joint.status == "open":
        assert row["waiting_for"]["service"] == joint.slowest
    before = joint_installation({"state": content, "working_days": None}, installations, date(2024, 2, 1))
    assert before["state"] == "open"
    # Nothing had happened yet, but for installations of which every step was taken back: they have no day.
    undated = {one.installation_no for one in installations.values() if not (one.steps or one.paused or one.resumed)}
    assert {part["status"] for part in before["parts"] if part["installation_no"] not in undated} <= {"no_company"}
    assert before["slowest"] is not None
