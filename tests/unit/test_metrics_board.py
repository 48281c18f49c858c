"""Peer groups, months, a chart's axis, and who can make a session: by example and by property."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.board import nice_ceiling, peer_groups, spans
from services.metrics.domain.sessions import LINK_LIFE, SESSION_LIFE, mint, read
from shared import counties


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
    assert SESSION_LIFE.total_seconds() <= 12 * 3600
