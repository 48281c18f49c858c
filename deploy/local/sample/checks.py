"""Each figure that the services give, held against what the sample must come to. Pure: answers in, checks out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from deploy.local.sample import golden
from deploy.local.sample.golden import GOLDEN, Figures
from deploy.local.sample.utilities import CoLocation
from shared import counties, items

Answer = Mapping[str, Any]

FEW: Final = 4
"""Up to so many figures of a group are shown one by one."""

IN_THE_NOTICE: Final = (
    "截至9月底",
    "“残疾人服务”",
    "615件",
    "满城区(163件,占全市的26.5%)",
    "不足10件的有12个县",
    "4个县(市、区)办件为零",
)
"""What the notice's paragraph says in any case (CONTRACT §5)."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What ``metrics`` answers as of the sample's day (CONTRACT §4)."""

    counts: Answer
    by_item: Answer
    ranking: Answer
    co_location: Answer
    notice: Answer
    consistency: Answer


@dataclass(frozen=True, slots=True)
class Expected:
    """What the sample's plan comes to: figures by item and county, the co-location table by county."""

    planned: Mapping[str, Mapping[str, Figures]]
    co_location: Mapping[str, CoLocation]


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of ``group``. ``what`` names it within the group, in Chinese."""

    group: str
    what: str
    expected: object
    seen: object

    @property
    def holds(self) -> bool:
        return self.expected == self.seen


def check(answers: Answers, expected: Expected) -> list[Check]:
    """Every figure, in the order in which it is told. A row that is missing is seen as ``None``."""
    return [
        *_cases(answers.counts),
        *_ranking(answers.ranking),
        *_items(answers.by_item, expected.planned),
        *_halls(answers.co_location, expected.co_location),
        *(Check("通报正文", text, True, text in answers.notice["paragraph"]) for text in IN_THE_NOTICE),
        Check("重算与计数器一致", "差异", [], answers.consistency["drift"]),
    ]


def lines(checks: Sequence[Check]) -> list[tuple[bool, str]]:
    """One line a group, whether it holds and what it says.

    A line that holds gives its figures where they are few; one that does not names each figure that differs.
    """
    groups: dict[str, list[Check]] = {}
    for one in checks:
        groups.setdefault(one.group, []).append(one)
    told = []
    for group, members in groups.items():
        wrong = [f"{one.what}应为{_told(one.expected)},实为{_told(one.seen)}" for one in members if not one.holds]
        if wrong:
            text = ";".join(wrong)
        elif len(members) <= FEW:
            text = ",".join(f"{one.what} {_told(one.seen)}" for one in members)
        else:
            text = f"{len(members)}项全部相符"
        told.append((not wrong, f"{group}:{text}"))
    return told


def _cases(counts: Answer) -> Iterator[Check]:
    rows = {row["county"]: row for row in counts["rows"]}
    for measure, name in (("handled", "办件量"), ("completed", "办结量")):
        for code, figures in _in_order(GOLDEN):
            yield Check(f"各县(市、区){name}", _name(code), getattr(figures, measure), rows.get(code, {}).get(measure))
        total = sum(getattr(figures, measure) for figures in GOLDEN.values())
        yield Check("全市合计", name, total, counts["total"].get(measure))


def _ranking(ranking: Answer) -> Iterator[Check]:
    rows = {row["county"]: row for row in ranking["rows"]}
    counts = [figures.handled for figures in GOLDEN.values()]
    for code, figures in _in_order(GOLDEN):
        place = 1 + sum(count > figures.handled for count in counts)
        row = rows.get(code, {})
        yield Check("排名", _name(code), (place, figures.handled), (row.get("rank"), row.get("count")))
    first = ranking["rows"][0] if ranking["rows"] else {}
    leader = GOLDEN[golden.LEADER].handled
    yield Check("全市合计", "排名中的办件量", golden.TOTAL, ranking["total"])
    yield Check("办件量最高", "单位", _name(golden.LEADER), first.get("name"))
    yield Check("办件量最高", "件数", leader, first.get("count"))
    yield Check("办件量最高", "占比", golden.LEADER_SHARE, percent(first.get("share")))
    yield Check("办件量最高", "是否试点", False, first.get("pilot"))
    low = [code for code, figures in GOLDEN.items() if figures.handled < 10]
    zero = [code for code, figures in GOLDEN.items() if figures.handled == 0]
    yield Check("办件量不足10件的单位", "个数", golden.UNDER_TEN, len(ranking["low"]))
    yield Check("办件量不足10件的单位", "名单", _names(low), _names(ranking["low"]))
    yield Check("办件为零的单位", "个数", golden.AT_ZERO, len(ranking["zero"]))
    yield Check("办件为零的单位", "名单", _names(zero), _names(ranking["zero"]))


def _items(by_item: Answer, planned: Mapping[str, Mapping[str, Figures]]) -> Iterator[Check]:
    rows = {row["item"]: row for row in by_item["rows"]}
    for code, figures in planned.items():
        row = rows.get(code, {})
        sums = (sum(f.handled for f in figures.values()), sum(f.completed for f in figures.values()))
        yield Check("各事项办件量和办结量", items.find(code).name, sums, (row.get("handled"), row.get("completed")))


def _halls(co_location: Answer, expected: Mapping[str, CoLocation]) -> Iterator[Check]:
    rows = {row["county"]: row for row in co_location["counties"]}
    for code, hall in _in_order(expected):
        row = rows.get(code, {})
        seen = (row.get("applicable"), row.get("co_located"))
        yield Check("各县(市、区)应进驻和已进驻", _name(code), (hall.applicable, hall.co_located), seen)
    total = co_location["total"]
    yield Check("进驻合计", "应进驻", sum(hall.applicable for hall in expected.values()), total["applicable"])
    yield Check("进驻合计", "已进驻", sum(hall.co_located for hall in expected.values()), total["co_located"])
    absent = [row["county"] for row in co_location["counties"] if row["none_at_all"]]
    yield Check("没有一家企业进驻的单位", "个数", len(golden.NOBODY_IN_THE_HALL), total["none_at_all"])
    yield Check("没有一家企业进驻的单位", "名单", _names(golden.NOBODY_IN_THE_HALL), _names(absent))


def percent(share: float | None) -> str:
    """A fraction as people read it; a dash where there is none."""
    return "—" if share is None else f"{share:.1%}"


def _name(code: str) -> str:
    return counties.BY_CODE[code].name


def _names(codes: Sequence[str]) -> str:
    return "、".join(_name(code) for code in sorted(codes, key=counties.ORDER.__getitem__))


def _in_order(rows: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(rows.items(), key=lambda pair: counties.ORDER[pair[0]])


def _told(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(_told(part) for part in value)
    if isinstance(value, bool):
        return "是" if value else "否"
    if value is None:
        return "缺"
    return "无" if value in ("", [], {}) else str(value)
