"""The notice's chart, defined once: XlsxWriter draws it on a sheet, and the text document takes it over with its workbook."""

import io
import re
import zipfile
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

DATED: Final = datetime(2000, 1, 1)  # noqa: DTZ001
"""Workbooks name when they were made; ours must not differ by that."""

BAR: Final = "#4F6D9A"
LEADER: Final = "#B3261E"
LOW: Final = "#C9CED6"
FONT: Final = "宋体"

SHEET: Final = "办件量"

_LABELS: Final = ("LegendKey", "Val", "CatName", "SerName", "Percent", "BubbleSize")


def counts_chart(book: Workbook, answer: Mapping[str, Any], sheet: str, first_row: int, columns: tuple[int, int]) -> Any:
    """A bar for each unit, the leader's and the low ones' in colours of their own, each with its number.

    The rows of ``answer`` stand on ``sheet`` from ``first_row``; ``columns`` are those of the name and of the count.
    """
    rows = answer["rows"]
    low = set(answer["low"]["counties"])
    last_row = first_row + len(rows) - 1
    names, counts = columns
    colours = [LEADER if row["rank"] == 1 and row["count"] else LOW if row["county"] in low else BAR for row in rows]
    chart: Any = book.add_chart({"type": "bar"})
    chart.add_series(
        {
            "name": "办件量",
            "categories": [sheet, first_row, names, last_row, names],
            "values": [sheet, first_row, counts, last_row, counts],
            "fill": {"color": BAR},
            "points": [{"fill": {"color": colour}} for colour in colours],
            "gap": 35,
            "data_labels": {"value": True, "font": {"name": FONT, "size": 9}},
        }
    )
    font = {"name": FONT, "size": 9}
    chart.set_title(
        {"name": f"各县(市、区)“{answer['item_name']}”办件量(件)", "name_font": {"name": "黑体", "size": 12, "bold": False}}
    )
    chart.set_legend({"none": True})
    # The first unit on top.
    chart.set_y_axis({"reverse": True, "num_font": font, "line": {"color": "#808080"}, "major_tick_mark": "none"})
    chart.set_x_axis({"visible": False, "major_gridlines": {"visible": False}, "min": 0})
    chart.set_chartarea({"border": {"none": True}})
    return chart


def new_book(target: io.BytesIO) -> Workbook:
    """A workbook whose bytes follow from its content alone. Text is text: never a formula, a link or a number."""
    book = Workbook(
        target,
        {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False},
    )  # fmt: skip
    book.set_properties({"created": DATED})
    return book


def chart_and_workbook(answer: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The chart's DrawingML, and the workbook with its data that a text document keeps beside it."""
    target = io.BytesIO()
    with new_book(target) as book:
        sheet: Worksheet = book.add_worksheet(SHEET)
        sheet.write_row(0, 0, ["县(市、区)", "办件量"])
        for place, row in enumerate(answer["rows"], start=1):
            sheet.write_row(place, 0, [row["name"], row["count"]])
        sheet.insert_chart("D2", counts_chart(book, answer, SHEET, 1, (0, 1)))
    workbook = target.getvalue()
    with zipfile.ZipFile(io.BytesIO(workbook)) as parts:
        drawn = parts.read("xl/charts/chart1.xml").decode()
    return _for_a_text_document(drawn).encode(), workbook


def _for_a_text_document(drawn: str) -> str:
    """The chart as other programs than Excel read it too, with its data at relationship ``rId1``.

    XlsxWriter names Latin fonts alone, and leaves out what a spreadsheet takes as off and a text document as on.
    """
    drawn = re.sub(r'<a:latin typeface="([^"]*)"[^>]*/>', r'<a:latin typeface="\1"/><a:ea typeface="\1"/>', drawn)
    drawn = drawn.replace('<c:lang val="en-US"/>', '<c:lang val="zh-CN"/><c:roundedCorners val="0"/>', 1)
    drawn = drawn.replace('<c:showVal val="1"/>', "".join(f'<c:show{what} val="{int(what == "Val")}"/>' for what in _LABELS))
    data = '<c:externalData r:id="rId1"><c:autoUpdate val="0"/></c:externalData>'
    return drawn.replace("<c:printSettings>", f"{data}<c:printSettings>", 1)
