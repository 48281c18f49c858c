"""The demo's checks: right answers hold in every line, and any one wrong figure is named."""

import copy
import io
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from aiokafka import TopicPartition
from rich.console import Console

from deploy.local.sample import golden, season, utilities
from deploy.local.sample.backlog import records_behind
from deploy.local.sample.checks import Answers, Expected, check, lines
from deploy.local.sample.golden import GOLDEN
from deploy.local.sample.tables import county_table, hall_table
from shared import counties, items


@pytest.fixture(scope="module")
def expected() -> Expected:
    sample = season.build()
    return Expected(sample.planned, utilities.build(utilities.read_registry(), sample.joint, season.SOURCE).expected)


@pytest.fixture
def answers(expected: Expected) -> Answers:
    """What the reading side would answer (CONTRACT §4) if all were counted rightly."""
    ranked = sorted(GOLDEN.items(), key=lambda pair: (-pair[1].handled, counties.ORDER[pair[0]]))
    pilots = items.find(golden.ITEM).pilots
    return Answers(
        counts={
            "rows": [{"county": c.code, "name": c.name, **asdict(GOLDEN[c.code])} for c in counties.ROSTER],
            "total": {"handled": 615, "completed": 524},
        },
        by_item={
            "rows": [
                {
                    "item": item,
                    "handled": sum(f.handled for f in rows.values()),
                    "completed": sum(f.completed for f in rows.values()),
                }
                for item, rows in expected.planned.items()
            ]
        },
        ranking={
            "total": 615,
            "rows": [
                {
                    "rank": 1 + sum(other.handled > figures.handled for other in GOLDEN.values()),
                    "county": code,
                    "name": counties.BY_CODE[code].name,
                    "pilot": code in pilots,
                    "count": figures.handled,
                    "share": figures.handled / 615,
                }
                for code, figures in ranked
            ],
            "low": [code for code, figures in ranked if figures.handled < 10],
            "zero": [code for code, figures in ranked if not figures.handled],
        },
        co_location={
            "counties": [
                {
                    "county": code,
                    "name": counties.BY_CODE[code].name,
                    **asdict(hall),
                    "rate": hall.co_located / hall.applicable,
                    "companies": [],
                }
                for code, hall in expected.co_location.items()
            ],
            "total": {
                "applicable": sum(hall.applicable for hall in expected.co_location.values()),
                "co_located": sum(hall.co_located for hall in expected.co_location.values()),
                "rate": 0.8,
                "none_at_all": 2,
            },
        },
        notice={
            "paragraph": "截至9月底,全市共办理“残疾人服务”一件事615件,办理量最高的是满城区(163件,占全市的26.5%),其次是定兴县(94件);"
            "办件量不足10件的有12个县(市、区):唐县,其中高新区4个县(市、区)办件为零。"
        },
        consistency={"checked": 1000, "drift": []},
    )


def test_right_answers_hold_in_every_line(answers: Answers, expected: Expected) -> None:
    checks = check(answers, expected)
    told = lines(checks)
    assert [line for holds, line in told if not holds] == []
    assert (True, "办件量最高:单位 满城区,件数 163,占比 26.5%,是否试点 否") in told
    assert (True, "没有一家企业进驻的单位:个数 2,名单 涞源县、白沟新城") in told
    assert (True, "各县(市、区)办件量:22项全部相符") in told
    assert len(checks) > 5 * len(counties.ROSTER) - 22


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a["counts"]["rows"][4].update(handled=74), "各县(市、区)办件量:徐水区应为75,实为74"),
        (lambda a: a["counts"]["rows"][4].update(completed=71), "各县(市、区)办结量:徐水区应为70,实为71"),
        (lambda a: a["counts"]["rows"].pop(20), "各县(市、区)办件量:高新区应为0,实为缺"),
        (lambda a: a["counts"]["total"].update(handled=616), "全市合计:办件量应为615,实为616"),
        (lambda a: a["ranking"]["rows"][0].update(share=0.262), "办件量最高:占比应为26.5%,实为26.2%"),
        (lambda a: a["ranking"]["rows"][0].update(pilot=True), "办件量最高:是否试点应为否,实为是"),
        (lambda a: a["ranking"]["rows"][1].update(rank=1), "排名:定兴县应为2/94,实为1/94"),
        (lambda a: a["ranking"]["low"].pop(), "办件量不足10件的单位:个数应为12,实为11"),
        (lambda a: a["ranking"]["zero"].clear(), "办件为零的单位:个数应为4,实为0"),
        (lambda a: a["by_item"]["rows"].pop(), "各事项办件量和办结量:退休应为"),
        (lambda a: a["co_location"]["counties"][0].update(co_located=8), "各县(市、区)应进驻和已进驻:竞秀区应为9/9,实为9/8"),
        (lambda a: a["co_location"]["total"].update(none_at_all=3), "没有一家企业进驻的单位:个数应为2,实为3"),
        (lambda a: a["notice"].update(paragraph="截至9月底"), "通报正文:“残疾人服务”应为是,实为否"),
        (lambda a: a["consistency"]["drift"].append({"county": "130607"}), "重算与计数器一致:差异应为无,实为"),
    ],
)
def test_one_wrong_figure_is_named(answers: Answers, expected: Expected, change: Change, told: str) -> None:
    changed = copy.deepcopy(asdict(answers))
    change(changed)
    wrong = [line for holds, line in lines(check(Answers(**changed), expected)) if not holds]
    assert any(line.startswith(told) for line in wrong), wrong


def test_the_tables_show_every_unit(answers: Answers) -> None:
    out = io.StringIO()
    console = Console(file=out, width=120)
    console.print(county_table(answers.ranking, answers.counts))
    console.print(hall_table(answers.co_location))
    shown = out.getvalue()
    assert all(shown.count(unit.name) >= 2 for unit in counties.ROSTER)
    assert "26.5%" in shown
    assert shown.count("无企业进驻") == 3


@pytest.mark.parametrize(
    ("committed", "behind"),
    [
        ({}, 15),
        ({"onething-a": {("t", 0): 10, ("t", 1): 5}}, 0),
        ({"onething-a": {("t", 0): 10}}, 5),
        ({"onething-a": {("t", 0): 10, ("t", 1): 5}, "onething-b": {("t", 0): 9, ("t", 1): 3}}, 3),
        ({"onething-a": {("t", 0): 10, ("t", 1): -1}}, 5),
        ({"onething-other": {("elsewhere", 0): 7}}, 15),
    ],
)
def test_the_slowest_reader_of_a_topic_decides(committed: dict[str, dict[tuple[str, int], int]], behind: int) -> None:
    ends = {TopicPartition("t", 0): 10, TopicPartition("t", 1): 5}
    positions = {group: {TopicPartition(*key): offset for key, offset in own.items()} for group, own in committed.items()}
    assert records_behind(ends, positions) == behind
