"""The demo's tables, in the words of the bureau."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from deploy.local.sample.checks import percent


def county_table(ranking: Mapping[str, Any], counts: Mapping[str, Any]) -> Table:
    """Rank, unit, pilot, handled cases, share of the city, completed."""
    completed = {row["county"]: row["completed"] for row in counts["rows"]}
    table = Table(title="各县(市、区)“残疾人服务”办件量", caption="截至2024年9月30日(业务日期)")
    for heading in ("位次", "县(市、区)", "试点", "办件量", "占比", "办结"):
        table.add_column(heading, justify="left" if heading == "县(市、区)" else "right")
    low = set(ranking["low"])
    for row in ranking["rows"]:
        cells = (
            str(row["rank"]),
            row["name"],
            "是" if row["pilot"] else "",
            str(row["count"]),
            percent(row["share"]),
            str(completed.get(row["county"], "—")),
        )
        table.add_row(*cells, style="yellow" if row["county"] in low else None)
    table.add_section()
    table.add_row("", "全市", "", str(ranking["total"]), "", str(counts["total"]["completed"]))
    return table


def hall_table(co_location: Mapping[str, Any]) -> Table:
    """Unit, applicable pairs of company and service, co-located ones, rate, and who has nobody."""
    table = Table(title="水电气暖网等企业进驻政务服务大厅", caption="截至2024年9月30日")
    for heading in ("县(市、区)", "应进驻", "已进驻", "进驻率", "备注"):
        table.add_column(heading, justify="left" if heading in ("县(市、区)", "备注") else "right")
    for row in co_location["counties"]:
        remark = "无企业进驻" if row["none_at_all"] else ""
        cells = (row["name"], str(row["applicable"]), str(row["co_located"]), percent(row["rate"]), remark)
        table.add_row(*cells, style="red" if row["none_at_all"] else None)
    total = co_location["total"]
    table.add_section()
    table.add_row(
        "全市",
        str(total["applicable"]),
        str(total["co_located"]),
        percent(total["rate"]),
        f"{total['none_at_all']}个单位无企业进驻",
    )
    return table
