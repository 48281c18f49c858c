"""The roster, and how codes are read as units of it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import counties

RETIRED = {"130621": "130607", "130622": "130608", "130625": "130609", "130603": "130606", "130604": "130606"}
UNITS = [f"1306{unit:02}" for unit in (2, 6, 7, 8, 9, 23, 24, 26, 27, 28, 30, 31, 33, 34, 35, 36, 37, 81, 83, 84, 71, 72)]


def test_the_roster_has_these_22_units() -> None:
    assert [county.code for county in counties.ROSTER] == UNITS
    assert len({county.name for county in counties.ROSTER}) == 22


@pytest.mark.parametrize(("code", "unit"), [*RETIRED.items(), *((code, code) for code in UNITS)])
@pytest.mark.parametrize("tail", ["", "002", "002003"])
def test_six_nine_and_twelve_digits_of_old_and_new_codes_are_read(code: str, unit: str, tail: str) -> None:
    assert counties.normalise(code + tail).code == unit


@pytest.mark.parametrize(("code", "name"), [("130629", "容城县"), ("130632", "安新县"), ("130638", "雄县"), ("130682", "定州市")])
def test_units_governed_elsewhere_are_refused_by_name(code: str, name: str) -> None:
    with pytest.raises(counties.UnknownCounty, match=f"{name}.*governed elsewhere"):
        counties.normalise(code + "001")


def test_a_code_of_elsewhere_is_told_what_is_allowed() -> None:
    with pytest.raises(counties.UnknownCounty, match=r"130102 is not in the roster; allowed: 130602, .*130672"):
        counties.normalise("130102")


@pytest.mark.parametrize("code", ["", "13060", "1306070", "1306070020", "１３０６０７", "130607 ", "130607\n", "-13060", "13060a"])
def test_another_form_is_told_the_form(code: str) -> None:
    with pytest.raises(counties.UnknownCounty, match="6, 9 or 12 digits"):
        counties.normalise(code)


digits = st.text("0123456789", min_size=1, max_size=13)


@given(st.one_of(st.text(), digits, st.builds(str.__add__, st.sampled_from([*UNITS, *RETIRED]), digits)))
def test_reading_is_total_and_stable(code: str) -> None:
    unit = None
    with contextlib.suppress(counties.UnknownCounty):
        unit = counties.normalise(code)
    # Read by its first six digits, or not at all.
    prefix = code[:6]
    readable = code.isascii() and code.isdigit() and len(code) in (6, 9, 12) and (prefix in UNITS or prefix in RETIRED)
    assert unit == (counties.BY_CODE[RETIRED.get(prefix, prefix)] if readable else None)
