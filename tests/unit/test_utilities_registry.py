"""The registry's file: read whole or not at all, each wrong line named."""

from pathlib import Path

import pytest

from services.utilities.domain.registry import Pair, Registry, RegistryErrors
from services.utilities.domain.registry_file import Contact, RegistryFile, read_registry, write_csv, write_xlsx
from shared.counties import BY_CODE
from shared.events.case import Service
from shared.events.progress import RegistryState

HEADER = "company,name,service,county,valid_from,valid_to\n"
GOOD = "baoding-power,国网保定供电公司,power,130607,2023-01-01,\n"


def read_csv(text: str) -> tuple[RegistryState, ...]:
    return read_registry(text.encode()).states


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
        ("baoding power!,x,power,130607,2023-01-01,", "“企业编号”列:只能用字母"),
        ("a,,power,130607,2023-01-01,", "“企业名称”列:必填"),
        (f"a,{'x' * 101},power,130607,2023-01-01,", "“企业名称”列:不超过100字"),
        ("a,x,steam,130607,2023-01-01,", "“服务”列:请从下拉框选:供水"),
        ("a,x,power,130629,2023-01-01,", "“县(市、区)”列:该县(市)不归本市管"),
        ("a,x,power,999999,2023-01-01,", "“县(市、区)”列:不是本市的县"),
        ("a,x,power,130607,2023-02-30,", "“起始日期”列:日历上没有"),
        ("a,x,power,130607,soon,", "“起始日期”列:不是日期"),
        ("a,x,power,130607,2023-01-01,2023-01-01", "“终止日期”列:不晚于起始日期"),
        ("a,x,power,130607,2023-01-01,,more,and,more", "比列名多出了列"),
        ("baoding-power,国网保定供电公司,power,130621,2024-01-01,", "“起始日期”列:与第2行的起止日期重叠"),
        ("baoding-power,another,power,130608,2024-01-01,", "“企业名称”列:与第2行同一企业的名称不同"),
    ],
)
def test_a_wrong_line_is_named_with_its_column(line: str, says: str) -> None:
    with pytest.raises(RegistryErrors) as caught:
        read_csv(HEADER + GOOD + line + "\n")
    (error,) = caught.value.errors
    assert error.startswith("第3行")
    assert says in error


def test_every_mistake_of_a_line_is_named() -> None:
    with pytest.raises(RegistryErrors) as caught:
        read_csv(HEADER + "a b!,x,steam,1,,\n")
    assert [error.partition("列")[0] for error in caught.value.errors] == [
        "第2行“企业编号”", "第2行“服务”", "第2行“县(市、区)”", "第2行“起始日期”",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", HEADER, "company;name\n", GOOD, "﻿"])
def test_a_file_without_header_or_lines_is_refused(text: str) -> None:
    with pytest.raises(RegistryErrors):
        read_csv(text)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"%PDF-1.7\x00", b"PK\x03\x04broken", b'"open'])
def test_another_kind_of_file_is_refused(content: bytes) -> None:
    with pytest.raises(RegistryErrors):
        read_registry(content)


def test_offices_are_contacts_and_people_are_not() -> None:
    header = "企业编号,企业名称,服务,县(市、区),起始日期,终止日期,联系科室,办公电话\n"
    good = "gas-1,甲燃气,燃气,满城区,2023/1/1,,工程建设科,0312-7070707\n"
    file = read_registry((header + good).encode("gb18030"))
    assert file.contacts == {"130607/gas-1/gas": ("工程建设科", "0312-7070707")}
    for phone in ("13800138000", "138-0013-8000", "130607199001011234"):
        with pytest.raises(RegistryErrors) as caught:
            read_registry((header + good.replace("0312-7070707", phone)).encode())
        assert "请填科室的办公电话" in caught.value.errors[0]


def test_what_is_exported_is_imported_unchanged_in_both_forms() -> None:
    file = read_registry(SAMPLE.read_bytes())
    subject = "130602/baoding-water/water"
    with_contacts = RegistryFile(file.states, {subject: Contact("工程建设科", "0312-5905910")})
    for written in (write_csv(with_contacts), write_xlsx(with_contacts)):
        again = read_registry(written)
        assert (again.states, dict(again.contacts)) == (with_contacts.states, with_contacts.contacts)


def test_entitlement_by_pair_and_by_what_is_named() -> None:
    registry = Registry(frozenset({Pair("130607", "gas-1", "gas"), Pair("130608", "gas-1", "heat")}))
    assert registry.serves("gas-1", "130607", "gas")
    assert not registry.serves("gas-1", "130607", "heat")
    assert registry.serves("gas-1", "130608", None)
    assert not registry.serves("gas-1", "130609", None)
    assert registry.serves("gas-1", None, "heat")
    assert not registry.serves("gas-2", None, None)
