"""Peer groups, months, a chart's axis, and who can make a session: by example and by property."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.board import nice_ceiling, peer_groups, spans
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
