"""Time limits by example: what ships, pauses over holidays, the heating season, limits into an unpublished year; wrong files."""

from datetime import date, datetime
from pathlib import Path

import pytest

from services.utilities.domain.installations import describe, merge
from services.utilities.domain.limits import LimitsError, TimeLimits
from services.utilities.domain.registers import Event
from services.utilities.domain.wire import InstallationData
from services.utilities.settings import LIMITS as LIMITS_FILE
from services.utilities.settings import read_limits
from shared.events.case import Service
from shared.events.progress import InstallationState
from shared.events.utility import InstallationStep
from shared.workdays import PUBLISHED, Calendar
from tests.utilities_support import LIMITS


def _state(service: str, kind: str | None, *steps: tuple[str, str], limits: TimeLimits = LIMITS) -> InstallationState:
    """The installation of these steps, each at nine in the morning of its day in China."""
    events = [
        Event(
            f"e{place}",
            InstallationData(
                installation_no="AZ1", company="c", service=Service(service), customer_kind=kind, step=InstallationStep(step),
                occurred_at=_nine(day), recorded_at=_nine(day),
            ),
        )
        for place, (step, day) in enumerate(steps)
    ]  # fmt: skip
    return InstallationState.model_validate(describe(merge((), events), limits).state)


def _nine(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T01:00:00Z")


@pytest.mark.parametrize(
    ("service", "kind", "steps", "step", "due"),
    [
        # The days after a Friday before National Day 2024: Sunday 29 September is worked, 1 to 7 October are not.
        ("power", "resident", [("accepted", "2024-09-27")], "plan_replied", "2024-10-08"),
        ("power", "low_voltage", [("accepted", "2024-09-27")], "plan_replied", "2024-10-12"),
        ("power", "high_voltage", [("accepted", "2025-01-24")], "plan_replied", "2025-02-20"),
        ("power", None, [("accepted", "2024-03-01")], "plan_replied", "2024-04-15"),
        ("telecom", None, [("accepted", "2024-05-30")], "surveyed", "2024-06-04"),
        # Paused on 30 September, resumed on 8 October: one working day more.
        ("power", "resident", [("accepted", "2024-09-27"), ("paused", "2024-09-30"), ("resumed", "2024-10-08")],
         "plan_replied", "2024-10-09"),
        # Resumed on the day it was paused: none.
        ("power", "resident", [("accepted", "2024-09-27"), ("paused", "2024-09-30"), ("resumed", "2024-09-30")],
         "plan_replied", "2024-10-08"),
        # Paused now: nothing is due, but for what was used up before the pause.
        ("power", "resident", [("accepted", "2024-09-27"), ("paused", "2024-09-30")], None, None),
        ("power", "resident", [("accepted", "2024-09-20"), ("paused", "2024-09-30")], "plan_replied", "2024-09-25"),
        # Three days in all, before the plan and after the works: two were used before.
        ("gas", "resident", [("accepted", "2024-05-06"), ("plan_replied", "2024-05-08"), ("works_done", "2024-06-03")],
         "connected", "2024-06-04"),
        ("gas", "resident", [("accepted", "2024-05-06"), ("plan_replied", "2024-05-08")], None, None),
        # Heat is connected in the season only; with nothing left the season's first day is the last one in time.
        ("heat", "resident", [("accepted", "2024-05-06"), ("plan_replied", "2024-05-08"), ("works_done", "2024-07-01")],
         "connected", "2024-11-15"),
        ("heat", "resident", [("accepted", "2024-05-06"), ("plan_replied", "2024-05-20"), ("works_done", "2024-07-01")],
         "connected", "2024-11-15"),
        ("heat", "resident", [("accepted", "2024-12-02"), ("plan_replied", "2024-12-02"), ("works_done", "2025-03-13")],
         "connected", "2025-11-18"),
        # A step that was passed by is not late for ever.
        ("power", "low_voltage", [("accepted", "2024-05-06"), ("works_done", "2024-05-08")], "inspected", "2024-05-14"),
        ("power", "resident", [("accepted", "2024-05-06"), ("cancelled", "2024-05-08")], None, None),
        ("water", "resident", [("accepted", "2024-05-06"), ("connected", "2024-05-08")], None, None),
    ],
)  # fmt: skip
def test_what_is_due_next(service: str, kind: str | None, steps: list[tuple[str, str]], step: str | None, due: str | None) -> None:
    state = _state(service, kind, *steps)
    assert (state.due_step, state.due_on and str(state.due_on)) == (step, due)
    assert not state.provisional


def test_a_limit_into_a_year_that_is_not_published_is_provisional_until_it_is() -> None:
    accepted = ("accepted", "2026-12-30")
    state = _state("power", "resident", accepted)
    assert (str(state.due_on), state.provisional) == ("2027-01-04", True)
    published = Calendar((*PUBLISHED.holidays, date(2027, 1, 1)), PUBLISHED.make_ups, date(2027, 12, 31))
    limits = TimeLimits(LIMITS.configuration, published)
    state = _state("power", "resident", accepted, limits=limits)
    assert (str(state.due_on), state.provisional) == ("2027-01-05", False)
    assert limits.digest != LIMITS.digest == read_limits(LIMITS_FILE).digest


def test_figures_of_any_day_come_from_the_state_alone() -> None:
    state = _state("power", "resident", ("accepted", "2024-05-06"), ("plan_replied", "2024-05-14"))
    days = [date(2024, 5, day) for day in range(5, 16)]
    assert [str(day) for day in days if state.overdue_on(day)] == ["2024-05-10", "2024-05-11", "2024-05-12", "2024-05-13"]
    assert [str(day) for day in days if state.due_soon_on(day)] == ["2024-05-08", "2024-05-09"]
    paused = _state("power", "resident", ("accepted", "2024-05-06"), ("paused", "2024-05-08"), ("resumed", "2024-05-10"))
    assert [str(day) for day in days if paused.due_soon_on(day)] == ["2024-05-10", "2024-05-11"]
    assert [str(day) for day in days if paused.paused_on(day)] == ["2024-05-08", "2024-05-09"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("due_soon_days = 1", "due_soon_days = -1", "due_soon_days"),
        ('services = ["power"]', 'services = ["steam"]', "limit.0.services.0"),
        ("working_days = 3", "working_days = 3\nuntil = 2025", "limit.0.until"),
        ('[["accepted", "plan_replied"]]', '[["plan_replied", "accepted"]]', "follow each other"),
        ('[["accepted", "plan_replied"]]', '[["accepted", "paused"]]', "usual order"),
        ('from = "11-15"', 'from = "11-31"', "season.heat.from"),
        ("due_soon_days", "due soon", "no TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    content = LIMITS_FILE.read_text(encoding="utf-8")
    assert old in content
    file = tmp_path / "limits.toml"
    file.write_text(content.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(LimitsError, match=said):
        read_limits(file)


def test_every_limit_names_its_source() -> None:
    assert all(len(rule.source) > 10 for rule in LIMITS.configuration.limit)
