"""Why a case counts otherwise, peer groups, and who can make a session: by example and by property."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain import board
from services.metrics.domain.board import change, nice_ceiling, peer_groups, spans
from services.metrics.domain.cases import EMPTY, CaseEvent, CaseState, merge, view
from services.metrics.domain.sessions import LINK_LIFE, SESSION_LIFE, mint, read
from shared import counties

HOUR = 3_600_000_000
YESTERDAY = 1_727_539_200_000_000  # 2024-09-29 in China
END = YESTERDAY + 48 * HOUR


def event(hours: int, step: str | None = "applied", *, occurred: int | None = None, **more: Any) -> CaseEvent:
    """An event recorded so many hours after the beginning of the day before; it happened then too, or at ``occurred``."""
    at = YESTERDAY + hours * HOUR
    happened = at if occurred is None else YESTERDAY + occurred * HOUR
    fields: dict[str, Any] = {"operation": "upsert", "occurred_at": happened} | more
    return CaseEvent(at, f"e{hours}-{step}", step=step, **fields)


def state(*events: CaseEvent, version: int = 1) -> CaseState:
    return merge(EMPTY, version, events)


PLACED: dict[str, Any] = {"county": "130607", "item": "disabled-service"}


@pytest.mark.parametrize(
    ("case", "why", "before", "after"),
    [
        (state(event(3, **PLACED)), "new", None, "130607"),
        (state(event(-30, **PLACED), event(3, "accepted")), "advanced", "130607", "130607"),
        (state(event(-30, **PLACED), event(3, "accepted", county="130635")), "moved", "130607", "130635"),
        (state(event(-30, **PLACED), event(3, None, operation="delete", occurred_at=None)), "deleted", "130607", None),
        (state(event(-30, **PLACED), event(3, "completed", occurred=-90)), "corrected", "130607", "130607"),
        (
            state(event(-30, **PLACED), event(-20, "accepted"), event(3, "accepted", operation="retract", occurred_at=None)),
            "corrected", "130607", "130607",
        ),
        (state(event(3, **PLACED), version=2), "corrected", None, "130607"),
        (
            state(event(-30, **PLACED), event(-20, None, operation="delete", occurred_at=None), event(3, "accepted")),
            "restored", None, "130607",
        ),
        (state(event(-30), event(3, "accepted", **PLACED)), "new", None, "130607"),
    ],
)  # fmt: skip
def test_why_a_case_counts_otherwise(case: CaseState, why: str, before: str | None, after: str | None) -> None:
    found = change(case, "handled", YESTERDAY, END)
    assert found is not None
    assert found.why == why
    assert (found.before and found.before[0], found.after and found.after[0]) == (before, after)
    assert found.unknown_before == (case.version > 1)


@pytest.mark.parametrize(
    "case",
    [
        state(event(-30, **PLACED)),
        state(event(50, **PLACED)),
        state(event(3)),
        state(event(-30, **PLACED), event(3, "supplement_requested")),
    ],
)
def test_what_moves_no_figure_is_no_change(case: CaseState) -> None:
    assert change(case, "handled", YESTERDAY, END) is None


def test_what_is_recorded_after_the_day_is_not_yet_known_on_it() -> None:
    case = state(event(3, **PLACED), event(60, "accepted", county="130635"))
    found = change(case, "handled", YESTERDAY, END)
    assert found is not None
    assert (found.why, found.after and found.after[0]) == ("new", "130607")


@given(st.lists(st.tuples(st.integers(-60, 60), st.sampled_from(["applied", "accepted", "completed"])), min_size=1, max_size=6))
def test_a_change_is_the_difference_of_two_readings(told: list[tuple[int, str]]) -> None:
    case = state(*(event(hours, step, **PLACED) for hours, step in told))
    found = change(case, "handled", YESTERDAY, END)
    now = view(CaseState(1, tuple(e for e in case.events if e.recorded_at < END))).contribution
    then = view(CaseState(1, tuple(e for e in case.events if e.recorded_at < YESTERDAY))).contribution
    if found is None:
        assert now == then or then is None
    else:
        assert found.after == (now and (now.county, now.days[0]))
        assert found.before == (then and (then.county, then.days[0]))


def test_months_are_compared_as_far_as_they_run() -> None:
    assert spans(date(2024, 9, 12)) == (date(2024, 9, 1), date(2024, 8, 1), date(2024, 8, 12), date(2024, 8, 31))
    assert spans(date(2024, 3, 31)).same_day == date(2024, 2, 29), "as far as the shorter month goes"
    assert spans(date(2024, 1, 5)).before == date(2023, 12, 1)


def test_peers_are_units_of_like_volume() -> None:
    volumes = {unit.code: 1000 - 10 * place for place, unit in enumerate(counties.ROSTER)}
    groups = peer_groups(volumes, {"130602": 4, "130606": 9})
    assert [len(group.rows) for group in groups] == [8, 8, 6]
    assert sorted(row.county for group in groups for row in group.rows) == sorted(volumes), "each unit once, zeros too"
    first = groups[0]
    assert [row.county for row in first.rows[:2]] == ["130606", "130602"], "the greatest count first"
    assert (first.median, [row.above for row in first.rows]) == (0, [True, True, *[False] * 6])


@given(st.integers(0, 10**7))
def test_an_axis_ends_at_a_round_number_above_all(most: int) -> None:
    end = nice_ceiling(most)
    assert max(most, 4) <= end <= max(2.5 * most, 5)
    assert str(end).rstrip("0") in ("1", "2", "25", "5")


TOKENS = {"reader": "r" * 30, "operator": "o" * 30}
NOW = datetime(2024, 10, 2, tzinfo=UTC)


def test_a_session_stands_for_its_token_until_it_is_over() -> None:
    text = mint("session", "operator", TOKENS["operator"], NOW)
    found = read("session", text, TOKENS, NOW + SESSION_LIFE - timedelta(seconds=1))
    assert found is not None
    assert found.role == "operator"
    assert read("session", text, TOKENS, NOW + SESSION_LIFE) is None
    assert read("link", text, TOKENS, NOW) is None, "a session is no link"
    assert read("session", text, TOKENS | {"operator": "another"}, NOW) is None, "a token that was replaced ends its sessions"
    assert read("session", mint("session", "operator", TOKENS["reader"], NOW), TOKENS, NOW) is None, (
        "nobody gives themselves a role"
    )
    link = read("link", mint("link", "reader", TOKENS["reader"], NOW), TOKENS, NOW)
    assert link is not None
    assert link.until == NOW + LINK_LIFE


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJyb2xlIjoicmVhZGVyIn0."])
def test_what_was_not_made_with_a_token_is_no_session(text: str) -> None:
    assert read("session", text, TOKENS, NOW) is None
    assert read("session", mint("session", "reader", "", NOW), {"reader": "", "operator": ""}, NOW) is None


def test_each_ticket_has_an_id_of_its_own() -> None:
    found = [read("link", mint("link", "reader", TOKENS["reader"], NOW), TOKENS, NOW) for _ in range(3)]
    assert len({ticket.id for ticket in found if ticket}) == 3
    assert board.tally([]) == dict.fromkeys(board.WHYS, 0)
    assert SESSION_LIFE.total_seconds() <= 12 * 3600
