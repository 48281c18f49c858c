"""People's numbers are told from case numbers, which must pass."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.people import is_somebodys, may_be_somebodys, said_on

RECORDED = date(2024, 9, 30)
WEIGHTS = [2**place % 11 for place in range(17, 0, -1)]
"""ISO 7064, MOD 11-2, from its definition: the place's power of two."""


def with_check_digit(digits: str) -> str:
    rest = sum(weight * int(digit) for weight, digit in zip(WEIGHTS, digits, strict=True)) % 11
    return digits + "0123456789X"[(12 - rest) % 11]


regions = st.sampled_from(["110105", "130602", "130635", "440308", "654321", "810000", "820000", "830000"])
serials = st.integers(0, 999).map("{:03}".format)


@given(regions, st.dates(date(1900, 1, 1), RECORDED - timedelta(days=367)), serials)
def test_every_identity_number_is_known_whatever_stands_around_it(region: str, born: date, serial: str) -> None:
    number = with_check_digit(f"{region}{born:%Y%m%d}{serial}")
    for written in (number, number.lower(), f"e-{number}", f"{number}.1", f"BD_{number}_x"):
        assert is_somebodys(written, RECORDED)
        assert is_somebodys(written)


@given(regions, st.dates(date(1950, 1, 1), date(2020, 1, 1)), serials, st.integers(0, 16), st.integers(1, 9))
def test_one_other_digit_makes_it_none_unless_it_ends_with_x(region: str, born: date, serial: str, place: int, by: int) -> None:
    number = with_check_digit(f"{region}{born:%Y%m%d}{serial}")
    changed = number[:place] + str((int(number[place]) + by) % 10) + number[place + 1 :]
    assert not is_somebodys(changed, RECORDED) or number.endswith("X")


@given(st.sampled_from(["130607", "130635"]), st.integers(0, 300), st.integers(0, 9999).map("{:04}".format))
def test_a_case_number_of_region_day_and_serial_passes_whatever_its_last_digit(region: str, days: int, serial: str) -> None:
    applied = RECORDED - timedelta(days=days)
    assert not is_somebodys(f"{region}{applied:%Y%m%d}{serial}", RECORDED)


@pytest.mark.parametrize(
    "identifier",
    [
        "13060720240930-1", "BD2024090001", "e-1", "13060700001", "13110500001", "202409300000001", "20240930000000001",
        "1727664000123456789", "7245098123451904001", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "130602199013011234",
        "130602189901011234", "BD13800138000", "138001380000", "1380013800", "0312-0881234", "0000-20240930",
        "0612-20240930", "BD-0930-20240930-1", "13800138-0000-4000-8000-138001380000", "e-1727664000123", "",
    ],
)  # fmt: skip
def test_codes_pass(identifier: str) -> None:
    assert not is_somebodys(identifier, RECORDED)
    assert not may_be_somebodys(identifier, RECORDED)


@pytest.mark.parametrize(
    "identifier",
    [
        "11010519491231002X",
        "13060219900101123x",
        "13800138000",
        "138-0013-8000",
        "13906071234",
        "0312-5881234",
        "010-65881234",
        "e-13906071234",
        "4f0c.13906071234.applied",
        "8613906071234",
    ],
)
def test_numbers_of_people_do_not(identifier: str) -> None:
    assert is_somebodys(identifier, RECORDED)


def test_the_older_form_may_be_somebodys() -> None:
    assert may_be_somebodys("130602900101123")
    assert not is_somebodys("130602900101123")


def test_the_day_of_an_event_is_read_where_it_can_be() -> None:
    assert said_on({"time": "2024-09-30T01:00:00Z", "data": {}}) == RECORDED
    assert said_on({"time": "x", "data": {"recorded_at": "2024-09-30"}}) == RECORDED
    for item in ({}, {"time": 1}, {"time": "x"}, {"data": {"recorded_at": ["2024-09-30"]}}, {"data": [1]}):
        assert said_on(item) is None
