"""Ranking and co-location, by example."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain import co_location as halls
from services.metrics.domain.cases import MEASURES
from services.metrics.domain.figures import Group, TooManyDays, empty, rank, rows_by, top
from shared import counties, items
from shared.events.progress import PresencePeriod, PresenceState, RegistryPeriod, RegistryState
from shared.events.utility import Business, Level

GOLDEN = {
    "130607": 163, "130626": 94, "130609": 75, "130634": 72, "130636": 50, "130608": 35, "130635": 28, "130681": 22,
    "130684": 18, "130637": 14, "130627": 9, "130623": 8, "130624": 7, "130628": 6, "130633": 5, "130683": 4, "130602": 3,
    "130606": 2,
}  # fmt: skip
DISABLED = items.find("disabled-service")
BOTH = tuple(Business)


def test_the_published_month_ranks_as_published() -> None:
    ranking = rank(GOLDEN, DISABLED.pilots)
    assert ranking.total == 615
    assert [row.count for row in ranking.rows[:5]] == [163, 94, 75, 72, 50]
    assert f"{ranking.rows[0].share:.1%}" == "26.5%"
    assert (len(ranking.low), len(ranking.zero)) == (12, 4)
    assert [row.county for row in ranking.rows if row.pilot] == ["130635"]


@given(st.dictionaries(st.sampled_from(list(counties.BY_CODE)), st.integers(0, 5)), st.integers(1, 22))
def test_a_ranking_names_every_unit_once_and_ties_share_a_rank(counts: dict[str, int], most: int) -> None:
    ranking = rank(counts, frozenset())
    assert {row.county for row in ranking.rows} == set(counties.BY_CODE)
    for row in ranking.rows:
        assert row.rank == 1 + sum(other.count > row.count for other in ranking.rows)
    assert ranking.total == sum(counts.values())
    assert {row.rank for row in top(ranking, most)} <= set(range(1, most + 1))
    ties = [row for row in ranking.rows if row.count == 0]
    assert ties == sorted(ties, key=lambda row: counties.ORDER[row.county])


def test_a_dense_ranking_leaves_no_rank_out_after_a_tie() -> None:
    counts = {"130607": 5, "130626": 5, "130609": 3}
    assert [row.rank for row in rank(counts, frozenset(), ties="dense").rows[:4]] == [1, 1, 2, 3]
    assert [row.rank for row in rank(counts, frozenset()).rows[:4]] == [1, 1, 3, 4]


def test_low_may_include_the_limit_itself() -> None:
    counts = {"130607": 10, "130626": 11}
    assert "130607" not in rank(counts, frozenset(), low=10, low_op="lt").low
    assert "130607" in rank(counts, frozenset(), low=10, low_op="le").low


def test_shares_of_nothing_are_unknown() -> None:
    assert rank({}, frozenset()).rows[0].share is None


def test_days_and_months_between_are_filled_with_zeros() -> None:
    def found(*days: date) -> list[dict[str, object]]:
        return [{"key": day, **dict.fromkeys(MEASURES, 1)} for day in days]

    days = rows_by("day", found(date(2024, 2, 27), date(2024, 3, 1)))
    assert [(row["day"], row["handled"]) for row in days] == [
        ("2024-02-27", 1), ("2024-02-28", 0), ("2024-02-29", 0), ("2024-03-01", 1),
    ]  # fmt: skip
    months = rows_by("month", found(date(2023, 12, 1), date(2024, 2, 1)))
    assert [row["month"] for row in months] == ["2023-12", "2024-01", "2024-02"]


def test_a_clock_that_says_the_year_one_does_not_make_a_row_for_each_day_since() -> None:
    sums = [{"key": day, **dict.fromkeys(MEASURES, 1)} for day in (date(1, 1, 1), date(2024, 9, 30))]
    with pytest.raises(TooManyDays, match="name a later from"):
        rows_by("day", sums)


@pytest.mark.parametrize(("group", "length"), [("county", 22), ("item", 13), ("day", 0), ("month", 0)])
def test_without_a_counter_there_are_zeros_and_no_days(group: Group, length: int) -> None:
    rows = rows_by(group, [])
    assert len(rows) == length
    assert all({measure: row[measure] for measure in MEASURES} == empty() for row in rows)


def registered(county: str, company: str, since: str = "2023-01-01", until: str | None = None) -> RegistryState:
    period = RegistryPeriod.model_validate({"valid_from": since, "valid_to": until})
    return RegistryState(county=county, company=company, name=company, service="power", periods=(period,))


def standing(county: str, company: str, *periods: tuple[str, Level, tuple[Business, ...]]) -> PresenceState:
    told = tuple(
        PresencePeriod(effective_on=date.fromisoformat(on), level=level, handles=handles) for on, level, handles in periods
    )
    return PresenceState(county=county, company=company, service="power", periods=told)


def test_co_located_means_a_window_and_both_kinds_of_business() -> None:
    assert halls.is_co_located(Level.OWN_WINDOW, BOTH)
    assert halls.is_co_located(Level.COMPREHENSIVE_WINDOW, BOTH)
    assert not halls.is_co_located(Level.AGENCY, BOTH)
    assert not halls.is_co_located(Level.OWN_WINDOW, (Business.PUBLIC_SERVICE,))


def test_companies_come_leave_and_return_by_date() -> None:
    registry = [registered("130607", "power-a"), registered("130607", "power-b", until="2024-09-01")]
    presence = [
        standing(
            "130607", "power-a",
            ("2024-01-01", Level.OWN_WINDOW, BOTH), ("2024-03-01", Level.NONE, ()), ("2024-08-01", Level.OWN_WINDOW, BOTH),
        )
    ]  # fmt: skip

    def at(day: str) -> dict[str, object]:
        answer = halls.co_location(registry, presence, date.fromisoformat(day))
        (row,) = [row for row in answer["counties"] if row["county"] == "130607"]
        return {name: row[name] for name in ("applicable", "co_located", "none_at_all")}

    assert at("2023-12-31") == {"applicable": 2, "co_located": 0, "none_at_all": True}
    assert at("2024-02-29") == {"applicable": 2, "co_located": 1, "none_at_all": False}
    assert at("2024-03-01") == {"applicable": 2, "co_located": 0, "none_at_all": True}
    assert at("2024-09-01") == {"applicable": 1, "co_located": 1, "none_at_all": False}


def test_every_unit_has_a_row_even_without_companies() -> None:
    answer = halls.co_location([], [], date(2024, 9, 30))
    assert len(answer["counties"]) == 22
    assert answer["total"] == {"applicable": 0, "co_located": 0, "rate": None, "none_at_all": 22}
