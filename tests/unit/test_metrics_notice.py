"""The notice's words and rules, its canonical form, and the restatement against a plain oracle."""

import copy
import io
import json
from fractions import Fraction
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.documents import xlsx
from services.metrics.domain.notice import canonical, digest, ends, last_day, markdown, restatement, verified
from services.metrics.domain.notice.shares import in_words
from services.metrics.domain.notice.words import typeset
from shared import counties
from shared.events.utility import Level
from tests.notices import ALL_COUNTIES, answered, counts, made

SAYINGS = {
    "五分之一": Fraction(1, 5), "四分之一": Fraction(1, 4), "三分之一": Fraction(1, 3), "一半": Fraction(1, 2),
    "三分之二": Fraction(2, 3), "四分之三": Fraction(3, 4), "全部": Fraction(1),
    **{f"{sign}成": Fraction(n, 10) for n, sign in enumerate("一二三四五六七八九", 1)},
}  # fmt: skip


def section(content: dict[str, Any], heading: str) -> str:
    return next((one["text"] for one in content["sections"] if one["heading"] == heading), "")


def test_the_paragraph_reads_as_the_director_reads_it() -> None:
    content = made()
    assert content["paragraph"].startswith(
        "截至9月底,全市共办理“残疾人服务”一件事615件,办理量最高的是满城区(163件,占全市的26.5%),"
        "其次是定兴县(94件)、徐水区(75件)、曲阳县(72件)、顺平县(50件);办件量不足10件的有12个县(市、区):唐县、涞水县、"
    )
    assert ",其中涞源县、望都县、高新区、白沟新城4个县(市、区)办件为零。" in content["paragraph"]
    assert "满城区的办理量占比超过四分之一;领先的5个单位合计办理454件,占全市的73.8%,接近四分之三。" in content["paragraph"]
    assert "全市申报615件,受理615件,办结524件,办结率85.2%。" in content["paragraph"]
    assert content["paragraph"] == "".join(one["text"] for one in content["sections"])


def test_the_parameters_rule_the_words_and_are_printed() -> None:
    le = made(now=counts({"130607": (10, 1), "130626": (11, 1)}), low_op="le")
    assert "办件量10件以下的有21个县(市、区):满城区、" in le["paragraph"]
    assert any("少于或等于10件" in note for note in le["notes"])
    two = made(top=2, low=3, ties="dense")
    assert "其次是定兴县(94件);" in two["paragraph"]
    assert "办件量不足3件的有5个" in two["paragraph"]
    assert two["parameters"] == {"low": 3, "low_op": "lt", "top": 2, "ties": "dense"}
    assert any("(1、1、2)" in note for note in two["notes"])
    assert "(1、1、3)" in markdown(answered(made()))


def test_a_tie_at_the_last_named_place_is_not_cut_and_ranks_follow_the_rule() -> None:
    tied = counts({"130607": (9, 0), "130626": (5, 0), "130609": (5, 0), "130634": (4, 0)})
    assert "其次是徐水区(5件)、定兴县(5件);" in made(now=tied, top=2)["paragraph"]
    assert "其次是徐水区(5件)、定兴县(5件);" in made(now=tied, top=3)["paragraph"]
    assert "其次是徐水区(5件)、定兴县(5件)、曲阳县(4件);" in made(now=tied, top=3, ties="dense")["paragraph"]
    shared = made(now=counts({"130607": (4, 0), "130626": (4, 0)}))
    assert "办理量最高的是满城区、定兴县(各4件,各占全市的50.0%);" in shared["paragraph"]


def test_zeros_are_never_hidden() -> None:
    content = made(low=0)
    assert "涞源县、望都县、高新区、白沟新城4个县(市、区)办件为零。" in content["paragraph"]
    nothing = made(now={}, month="2024-01", as_of=last_day("2024-01"))
    assert "共办理“残疾人服务”一件事0件,各县(市、区)均未办理;" in nothing["paragraph"]
    assert "22个县(市、区)办件为零" in nothing["paragraph"]
    everybody = made(now=counts(dict.fromkeys(ALL_COUNTIES, (20, 1))))
    assert "没有办件量不足10件的县(市、区)。" in everybody["paragraph"]


def test_a_month_that_runs_is_named_by_its_day() -> None:
    assert made(as_of=last_day("2024-09").replace(day=15))["paragraph"].startswith("截至9月15日,全市共办理")


def test_the_change_since_last_month() -> None:
    now, last = {"130607": (30, 0), "130626": (9, 0), "130635": (4, 0)}, {"130607": (20, 0), "130626": (9, 0)}
    text = section(made(counts(now), counts(last)), "当月变化")
    assert text.startswith(
        "9月当月办理14件,比8月(29件)减少15件(下降51.7%),当月办理最多的是满城区(10件)。蠡县1个县(市、区)首次有办件。"
    )
    assert "当月没有新办理的有20个县(市、区):竞秀区、" not in text  # they follow the ranking: 定兴县 has cases
    assert "当月没有新办理的有20个县(市、区):定兴县、" in text
    climbed = made(counts({"130607": (30, 0), "130626": (31, 0)}), counts({"130607": (30, 0), "130626": (9, 0)}))
    assert section(climbed, "当月变化").endswith("位次上升最多的是定兴县(由第2位升至第1位)。")
    first = made(counts({"130607": (3, 0)}), month="2024-01", as_of=last_day("2024-01"))
    assert section(first, "当月变化").startswith("1月当月办理3件,此前没有办理,")
    january = made(
        counts({"130607": (3, 0)}),
        counts({"130607": (2, 0)}),
        counts({"130607": (1, 0)}),
        month="2024-01",
        as_of=last_day("2024-01"),
    )
    assert section(january, "当月变化").startswith("1月当月办理1件,与上年12月持平,")
    silent = made(counts({"130607": (2, 0)}), counts({"130607": (2, 0)}))
    assert section(silent, "当月变化") == "9月当月办理0件,比8月(2件)减少2件(下降100.0%)。"


def test_pilots_are_compared_with_the_others() -> None:
    golden = section(made(), "试点情况")
    assert golden == (
        "试点单位1个:蠡县28件(第7位),平均每个试点单位28.0件,与其他单位的平均数基本持平;有6个非试点单位的办理量高于全部试点单位,"
        "办理量最高的满城区不是试点。"
    )
    ahead = section(made(now=counts({"130635": (50, 0), "130607": (21, 0)})), "试点情况")
    assert "高于其他单位的平均1.0件;办理量最高的蠡县是试点。" in ahead
    behind = section(made(now=counts({"130607": (42, 0)})), "试点情况")
    assert "蠡县0件(第2位),平均每个试点单位0.0件,低于其他单位的平均2.0件" in behind


def test_halls_name_who_has_all_and_who_has_none() -> None:
    everywhere = [(code, "水务", Level.OWN_WINDOW) for code in ALL_COUNTIES[:20]] + [
        (ALL_COUNTIES[0], "另一水务", Level.AGENCY), (ALL_COUNTIES[20], "水务", Level.NONE),
    ]  # fmt: skip
    text = section(made(in_halls=everywhere), "企业进驻情况")
    assert text.startswith("水电气暖网等企业应进驻22家次,实际进驻20家次,进驻率90.9%(约九成);应进尽进的有19个县(市、区):莲池区、")
    assert text.endswith(";高新区、白沟新城2个县(市、区)没有一家企业进驻。")
    assert section(made(), "企业进驻情况") == ""


def installed(*rows: tuple[str, str, int, int, int]) -> dict[str, Any]:
    """The answer of installations: county, service, opened, connected, overdue; a row that counts nothing beside them."""
    told = [*rows, ("130602", "heat", 0, 0, 0)]
    return {
        "rows": [
            {"county": county, "service": service, "opened": opened, "connected": connected, "in_progress": opened - connected,
             "overdue": overdue, "cancelled": 0, "due_soon": 0, "median_working_days": 8.5 if connected else None}
            for county, service, opened, connected, overdue in told
        ]
    }  # fmt: skip


def idle(co_located: int, *rows: tuple[str, str, bool]) -> dict[str, Any]:
    """The answer of idle windows: county, company, whether it reported; of so many co-located."""
    told = [
        {"county": county, "company": company, "name": f"{company}公司", "service": "gas", "reported": reported}
        for county, company, reported in rows
    ]
    return {"rows": told, "total": {"co_located": co_located, "idle": len(rows), "reported": sum(row[2] for row in rows)}}


def test_windows_and_installations_are_told_where_there_are_figures_alone() -> None:
    silent = made(installations=installed(), idle_windows=idle(2, ("130607", "a", False), ("130607", "b", False)))
    for content in (made(), silent):
        assert not {"窗口运行情况", "联合报装情况"} & {one["heading"] for one in content["sections"]}
    content = made(
        installations=installed(("130626", "water", 9, 6, 2), ("130607", "gas", 1, 1, 0)),
        idle_windows=idle(3, ("130607", "a", True), ("130607", "b", False)),
    )
    assert (
        section(content, "窗口运行情况")
        == "9月“进厅不办事”的窗口有1个:满城区1个;另有1个窗口没有报装环节,也没有报送公用服务办理数,尚不能判定。"
    )
    assert section(content, "联合报装情况") == "截至9月底,全市联合报装受理10件,接通7件,在办3件,其中超期2件:定兴县2件。"
    unproven = section(made(idle_windows=idle(2, ("130607", "b", False))), "窗口运行情况")
    assert unproven.startswith("9月没有查实“进厅不办事”的窗口;另有1个窗口没有报装环节,")
    in_time = made(installations=installed(("130607", "gas", 1, 1, 0)))
    assert section(in_time, "联合报装情况").endswith("在办0件,没有超期。")


def test_windows_and_installations_are_restated() -> None:
    frozen = made(installations=installed(("130607", "gas", 2, 1, 1)), idle_windows=idle(3, ("130607", "a", True)))
    live = made(
        installations=installed(("130607", "gas", 2, 2, 0), ("130626", "water", 1, 0, 0)),
        idle_windows=idle(3, ("130607", "b", False)),
    )
    restated = restatement(frozen, live)
    assert restated is not None
    assert restated["total"] == []
    assert [(row["name"], row["measure_name"], row["frozen"], row["now"]) for row in restated["changes"]] == [
        ("满城区", "联合报装燃气接通", 1, 2),
        ("满城区", "联合报装燃气在办", 1, 0),
        ("满城区", "联合报装燃气超期", 1, 0),
        ("满城区", "a公司燃气进厅不办事", "reported", None),
        ("满城区", "b公司燃气进厅不办事", None, "not_reported"),
        ("定兴县", "联合报装供水受理", 0, 1),
        ("定兴县", "联合报装供水在办", 0, 1),
    ]
    text = markdown(answered(frozen, restated, sha256=digest(frozen), on="2024-10-02"))
    assert "| 满城区 | b公司燃气进厅不办事 | 无 | 是(未报送办理数) |" in text
    book = openpyxl.load_workbook(io.BytesIO(xlsx.render(answered(frozen, restated, sha256=digest(frozen), on="2024-10-02"))))
    assert book.sheetnames[-3:] == ["进厅不办事", "联合报装", "冻结后的更正"]
    assert [cell.value for cell in book["联合报装"][3]] == ["满城区", "燃气", 2, 1, 0, 1, 0, 1, 8.5]
    assert [cell.value for cell in book["进厅不办事"][3]] == ["满城区", "a公司", "燃气", "是"]


@given(st.integers(1, 5000).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_shares_in_words_say_nothing_false(pair: tuple[int, int]) -> None:
    part, whole = pair
    said = in_words(part, whole)
    share = Fraction(part, whole)
    if not said:
        assert share != 1
        return
    verb = next((verb for verb in ("超过", "接近", "近", "约") if said.startswith(verb)), "")
    value = SAYINGS[said.removeprefix(verb)]
    assert abs(share - value) <= Fraction(4, 100)
    assert {"超过": share > value, "接近": share < value, "近": share < value, "约": True, "": share == value}[verb]


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (163, 615, "超过四分之一"), (305, 1000, "约三成"), (1, 2, "一半"), (33, 100, "接近三分之一"), (7, 100, ""),
        (45, 100, ""), (9, 9, "全部"), (0, 0, ""), (78, 100, "近八成"), (63, 100, "超过六成"),
    ],
)  # fmt: skip
def test_shares_in_words(part: int, whole: int, said: str) -> None:
    assert in_words(part, whole) == said


def test_the_markdown_has_every_unit_in_both_tables() -> None:
    text = markdown(answered(made()))
    for county in counties.ROSTER:
        assert text.count(f"| {county.name} |") == 2
    assert "| 1 | 满城区 |  | 163 | 26.5% | 149 |" in text
    assert "| | 全市 | | 615 | | 524 |" in text
    assert "本件数据未冻结" in text


def test_months_know_leap_years_and_years() -> None:
    assert last_day("2024-02").isoformat() == "2024-02-29"
    assert [day.isoformat() for day in ends("2024-01")] == ["2023-12-31", "2023-11-30"]
    with pytest.raises(ValueError):
        last_day("2024-13")


def test_official_texts_have_full_width_punctuation() -> None:
    assert typeset("满城区(163件,26.5%);其中:a") == "\u6ee1\u57ce\u533a\uff08163件\uff0c26.5%\uff09\uff1b其中\uff1aa"


def test_the_canonical_form_is_that_of_rfc_8785() -> None:
    # Examples of the RFC's own, within what a notice may hold.
    value = {"\u20ac": "Euro Sign", "\r": "Carriage Return", "1": "One", "\u00f6": "O", "\U0001f600": "Smile", "\ufb33": "Dalet"}
    assert list(json.loads(canonical(value))) == ["\r", "1", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert (
        canonical([56.0, 4.5, 2e-3, 0.00002, 1e14, -0.0, 0.1 + 0.2])
        == b"[56,4.5,0.002,0.00002,100000000000000,0,0.30000000000000004]"
    )
    assert canonical({"b": [True, None], "a": '€\u000f\n"\\'}) == '{"a":"€\\u000f\\n\\"\\\\","b":[true,null]}'.encode()
    for wrong in (1e-7, float("nan"), float("inf"), object()):
        with pytest.raises(ValueError):
            canonical([wrong])


def test_the_hash_holds_the_notice_and_not_what_stands_beside_it() -> None:
    content = made()
    frozen = answered(content, sha256=digest(content))
    assert digest(made()) == digest(content)
    assert verified(json.loads(json.dumps(frozen)))
    assert verified({**frozen, "restatement": {"changes": []}})
    for path in (("total",), ("paragraph",), ("parameters", "low"), ("rows", 3, "count")):
        tampered = copy.deepcopy(frozen)
        place: Any = tampered
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = 7
        assert not verified(tampered)
    with pytest.raises(ValueError, match=r"frozen\.sha256"):
        verified(answered(content))


cells = st.dictionaries(
    st.sampled_from(ALL_COUNTIES[:5]),
    st.tuples(st.integers(0, 6), st.integers(0, 4)),
)
levels = st.dictionaries(st.tuples(st.sampled_from(ALL_COUNTIES[:3]), st.sampled_from(["甲", "乙"])), st.sampled_from(list(Level)))


@given(cells, cells, cells, cells, levels, levels)
def test_a_restatement_lists_exactly_the_changed_figures(
    then: dict[str, tuple[int, int]],
    now: dict[str, tuple[int, int]],
    last_then: dict[str, tuple[int, int]],
    last_now: dict[str, tuple[int, int]],
    halls_then: dict[tuple[str, str], Level],
    halls_now: dict[tuple[str, str], Level],
) -> None:
    def figures(cases: Any, last: Any, halls: Any) -> dict[tuple[str, str], Any]:
        """What the notice prints, counted without its code."""
        seen: dict[tuple[str, str], Any] = {}
        for county in ALL_COUNTIES:
            handled, completed = cases.get(county, (0, 0))
            before = last.get(county, (0, 0))[0]
            here = {company: level for (where, company), level in halls.items() if where == county}
            placed = [level in (Level.OWN_WINDOW, Level.COMPREHENSIVE_WINDOW) for level in here.values()]
            seen |= {
                (county, "handled"): handled, (county, "applied"): handled, (county, "accepted"): handled,
                (county, "completed"): completed, (county, "added"): handled - before, (county, "added_before"): before,
                (county, "applicable"): len(here), (county, "co_located"): sum(placed),
                (county, "none_at_all"): all(level == Level.NONE for level in here.values()),
            }  # fmt: skip
            for company, level in here.items():
                in_window = level in (Level.OWN_WINDOW, Level.COMPREHENSIVE_WINDOW)
                seen[county, f"presence:{company}/water"] = "co_located" if in_window else level.value
        return seen

    frozen = made(counts(then), counts(last_then), in_halls=[(*key, level) for key, level in halls_then.items()])
    live = made(counts(now), counts(last_now), in_halls=[(*key, level) for key, level in halls_now.items()])
    old, new = figures(then, last_then, halls_then), figures(now, last_now, halls_now)
    expected = {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}
    restated = restatement(frozen, live)
    if restated is None:
        assert not expected
        return
    assert {(row["county"], row["measure"]): (row["frozen"], row["now"]) for row in restated["changes"]} == expected
    assert len(restated["changes"]) == len(expected)
    # The city's figures are the sums of the counties'.
    for row in restated["total"]:
        for values, named in ((old, "frozen"), (new, "now")):
            assert row[named] == sum(values[county, row["measure"]] for county in ALL_COUNTIES)
    assert restated["now"]["total"] == sum(new[county, "handled"] for county in ALL_COUNTIES)
    words = [row["measure_name"] for row in restated["changes"]]
    assert all(words)
    order = [counties.ORDER[row["county"]] for row in restated["changes"]]
    assert order == sorted(order)
    assert "## 冻结后的更正" in markdown(answered(frozen, restated, sha256=digest(frozen), on="2024-10-02"))
