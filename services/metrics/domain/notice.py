"""The monthly notice (通报): its figures, its Chinese paragraph, and its tables in Markdown."""

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from services.metrics.domain.figures import LowOp, Ranked, Ranking
from shared.items import Item

LEADERS = 5
"""How many units the paragraph names as leading (the seed notice names five)."""


def last_day(month: str) -> date:
    """The last day of ``YYYY-MM``.

    Raises:
        ValueError: no such month.
    """
    first = date.fromisoformat(f"{month}-01")
    return first.replace(day=calendar.monthrange(first.year, first.month)[1])


def notice(
    month: str,
    item: Item,
    ranking: Ranking,
    completed: Mapping[str, int],
    co_location: Mapping[str, Any],
    *,
    low: int,
    low_op: LowOp,
) -> dict[str, Any]:
    """The notice as JSON. ``completed`` is by county; ``co_location`` the answer of that name for the month's last day."""
    as_of = last_day(month)
    return {
        "month": month,
        "as_of": as_of,
        "item": item.code,
        "item_name": item.name,
        "low": {"than": low, "op": low_op, "counties": ranking.low},
        "zero": {"counties": ranking.zero},
        "total": ranking.total,
        "rows": [{**asdict(row), "completed": completed.get(row.county, 0)} for row in ranking.rows],
        "co_location": co_location,
        "paragraph": paragraph(as_of, item, ranking, co_location, low=low, low_op=low_op),
    }


def paragraph(as_of: date, item: Item, ranking: Ranking, co_location: Mapping[str, Any], *, low: int, low_op: LowOp) -> str:
    """The paragraph that the director reads out (CONTRACT §5)."""
    head = f"截至{as_of.month}月底,全市共办理“{item.name}”一件事{ranking.total}件"
    return head + _leaders(ranking) + ";" + _low(ranking, low, low_op) + _pilots(ranking) + _halls(co_location)


def _leaders(ranking: Ranking) -> str:
    if not ranking.total:
        return ",各县(市、区)均未办理"
    first_rank = [row for row in ranking.rows if row.rank == 1]
    share = f"{first_rank[0].share:.1%}" if first_rank[0].share is not None else ""
    each = "各" if len(first_rank) > 1 else ""
    text = f",办理量最高的是{_names(first_rank)}({each}{first_rank[0].count}件,{each}占全市的{share})"
    following = [row for row in ranking.rows if 1 < row.rank <= LEADERS and row.count]
    if following:
        text += ",其次是" + "、".join(f"{row.name}({row.count}件)" for row in following)
    return text


def _low(ranking: Ranking, low: int, low_op: LowOp) -> str:
    limit = f"不足{low}件" if low_op == "lt" else f"{low}件以下"
    if not ranking.low:
        return f"没有办件量{limit}的县(市、区)。"
    zero = set(ranking.zero)
    rows = {row.county: row for row in ranking.rows}
    text = f"办件量{limit}的有{len(ranking.low)}个县(市、区):{_names([rows[code] for code in ranking.low])}"
    if zero:
        text += f",其中{_names([rows[code] for code in ranking.zero])}{len(zero)}个县(市、区)办件为零"
    return text + "。"


def _pilots(ranking: Ranking) -> str:
    pilots = [row for row in ranking.rows if row.pilot]
    if not pilots or not ranking.total or any(row.rank == 1 for row in pilots):
        return ""
    standing = "、".join(f"{row.name}{row.count}件(第{row.rank}位)" for row in pilots)
    return f"试点单位中,{standing},办理量最高的单位不是试点。"


def _halls(co_location: Mapping[str, Any]) -> str:
    whole = co_location["total"]
    if not whole["applicable"]:
        return ""
    text = f"水电气暖网等企业应进驻{whole['applicable']}家次,实际进驻{whole['co_located']}家次,进驻率{whole['rate']:.1%}"
    absent = [row["name"] for row in co_location["counties"] if row["none_at_all"]]
    if absent:
        text += f";{'、'.join(absent)}{len(absent)}个县(市、区)没有一家企业进驻"
    return text + "。"


def _names(rows: Sequence[Ranked]) -> str:
    return "、".join(row.name for row in rows)


def markdown(content: Mapping[str, Any]) -> str:
    """The notice as Markdown: title, paragraph, the table of counts and the table of co-location."""
    lines = [
        f"# 关于“{content['item_name']}”一件事办理情况的通报({content['month']})",
        "",
        content["paragraph"],
        "",
        "## 各县(市、区)办件量",
        "",
        "| 位次 | 县(市、区) | 试点 | 办件量 | 占比 | 办结 |",
        "|---:|---|:---:|---:|---:|---:|",
    ]
    for row in content["rows"]:
        share = "—" if row["share"] is None else f"{row['share']:.1%}"
        pilot = "是" if row["pilot"] else ""
        lines.append(f"| {row['rank']} | {row['name']} | {pilot} | {row['count']} | {share} | {row['completed']} |")
    lines += ["", "## 企业进驻政务服务大厅", "", "| 县(市、区) | 应进驻 | 已进驻 | 进驻率 | |", "|---|---:|---:|---:|---|"]
    for row in content["co_location"]["counties"]:
        rate = "—" if row["rate"] is None else f"{row['rate']:.1%}"
        remark = "无企业进驻" if row["none_at_all"] else ""
        lines.append(f"| {row['name']} | {row['applicable']} | {row['co_located']} | {rate} | {remark} |")
    low = content["low"]
    limit = "少于" if low["op"] == "lt" else "少于或等于"
    lines += ["", f"数据截至{content['as_of']}(业务日期);办件量{limit}{low['than']}件的列为办件量少的单位;并列的位次相同。", ""]
    return "\n".join(lines)
