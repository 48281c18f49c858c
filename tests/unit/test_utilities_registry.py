"""The registry's file: read whole or not at all, each wrong line named."""

from pathlib import Path

import pytest

from services.utilities.domain.registry import Pair, Registry, RegistryErrors, read_csv
from shared.counties import BY_CODE
from shared.events.case import Service

HEADER = "company,name,service,county,valid_from,valid_to\n"
GOOD = "baoding-power,国网保定供电公司,power,130607,2023-01-01,\n"
SAMPLE = Path(__file__).parents[2] / "deploy/local/sample/registry.csv"


def test_the_sample_serves_every_unit_with_all_services_but_heat_everywhere() -> None:
    states = read_csv(SAMPLE.read_text(encoding="utf-8"))
    counties = {service: {state.county for state in states if state.service == service} for service in Service}
    assert all(counties[service] == set(BY_CODE) for service in Service if service is not Service.HEAT)
    assert 0 < len(counties[Service.HEAT]) < len(BY_CODE)
    carriers = {"china-telecom", "china-mobile", "china-unicom"}
    assert all({s.company for s in states if s.service == "telecom" and s.county == county} == carriers for county in BY_CODE)
    periods = [period for state in states for period in state.periods]
    assert any(period.valid_to is not None and period.valid_to.year == 2024 for period in periods)
    assert any(period.valid_from.year == 2024 for period in periods)


def test_retired_and_long_codes_and_a_byte_order_mark_are_read() -> None:
    (state,) = read_csv("\ufeff" + HEADER + GOOD.replace("130607", "130621002003"))
    assert (state.county, state.company, state.name) == ("130607", "baoding-power", "国网保定供电公司")


def test_a_pair_may_leave_and_come_again() -> None:
    (state,) = read_csv(HEADER + GOOD.replace("-01-01,", "-06-01,") + GOOD.replace("-01-01,", "-01-01,2023-06-01"))
    assert [(str(p.valid_from), str(p.valid_to)) for p in state.periods] == [
        ("2023-01-01", "2023-06-01"),
        ("2023-06-01", "None"),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("baoding power,x,power,130607,2023-01-01,", "company is an id"),
        ("a,,power,130607,2023-01-01,", "name is what people read"),
        ("a,x,steam,130607,2023-01-01,", "service is one of water"),
        ("a,x,power,130629,2023-01-01,", "容城县"),
        ("a,x,power,999999,2023-01-01,", "not in the roster"),
        ("a,x,power,130607,2023-02-30,", "valid_from is a day"),
        ("a,x,power,130607,20230101,", "valid_from is a day"),
        ("a,x,power,130607,2023-01-01,2023-01-01", "valid_to is not after valid_from"),
        ("a,x,power,130607,2023-01-01", "give 6 columns"),
        ("a,x,power,130607,2023-01-01,,more", "give 6 columns"),
        ("baoding-power,国网保定供电公司,power,130621,2024-01-01,", "overlaps that of line 2"),
        ("baoding-power,another,power,130608,2024-01-01,", "line 2 gives baoding-power another name"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_wrong(line: str, says: str) -> None:
    with pytest.raises(RegistryErrors) as caught:
        read_csv(HEADER + GOOD + line + "\n")
    (error,) = caught.value.errors
    assert error.startswith("line 3: ")
    assert says in error


@pytest.mark.parametrize("text", ["", HEADER, "company;name\n", GOOD])
def test_a_file_without_header_or_lines_is_refused(text: str) -> None:
    with pytest.raises(RegistryErrors):
        read_csv(text)


def test_entitlement_by_pair_and_by_what_is_named() -> None:
    registry = Registry(frozenset({Pair("130607", "gas-1", "gas"), Pair("130608", "gas-1", "heat")}))
    assert registry.serves("gas-1", "130607", "gas")
    assert not registry.serves("gas-1", "130607", "heat")
    assert registry.serves("gas-1", "130608", None)
    assert not registry.serves("gas-1", "130609", None)
    assert registry.serves("gas-1", None, "heat")
    assert not registry.serves("gas-2", None, None)
