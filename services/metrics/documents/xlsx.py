"""The notice as a workbook: a sheet for each table, real numbers, headers that stay, a chart, ready to print on A4."""

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

from services.metrics.documents.chart import FONT, counts_chart, new_book
from services.metrics.domain.notice.freezing import STANDING, standing, value_in_words
from services.metrics.domain.notice.words import SERVICES, freeze_notes, typeset

HEADER_ROW: Final = 1
"""Above it stands the table's title."""
FIRST_ROW: Final = 2

PROSE_COLUMNS: Final = 8
"""The text lies over several columns: a single one wider than the page would not be fitted to it."""

COUNTS_SHEET: Final = "办件情况"
A4: Final = 9


class Column(NamedTuple):
    """A column: its header, its width in characters, and its format (``_Sheets`` has them)."""

    header: str
    width: float
    form: str = "number"


def render(answer: Mapping[str, Any]) -> bytes:
    """The workbook of a notice as the api answers it, with ``frozen`` and ``restatement``."""
    target = io.BytesIO()
    with new_book(target) as book:
        book.set_properties(
            {"title": answer["title"], "author": answer["issuer"], "created": datetime.fromisoformat(answer["as_of"])}
        )
        sheets = _Sheets(book, answer)
        sheets.text()
        sheets.counts()
        sheets.halls()
        sheets.companies()
        if answer["idle_windows"]:
            sheets.idle_windows()
        if answer["installations"]:
            sheets.installations()
        if answer["restatement"]:
            sheets.restatement()
    return target.getvalue()


class _Sheets:
    """The sheets of one workbook."""

    def __init__(self, book: Workbook, answer: Mapping[str, Any]) -> None:
        self._book = book
        self._answer = answer
        base = {"font_name": FONT, "font_size": 11, "valign": "vcenter"}
        cell = {**base, "border": 1, "border_color": "#A0A0A0"}
        made = {
            "title": {**base, "font_name": "黑体", "font_size": 16, "align": "center"},
            "header": {**cell, "bold": True, "align": "center", "bg_color": "#E8ECF2", "text_wrap": True},
            "text": cell,
            "centre": {**cell, "align": "center"},
            "number": {**cell, "num_format": "#,##0"},
            "either": {**cell, "align": "right"},
            "decimal": {**cell, "num_format": "#,##0.0"},
            "percent": {**cell, "num_format": "0.0%"},
            "prose": {**base, "text_wrap": True, "valign": "top"},
            "heading": {**base, "font_name": "黑体", "font_size": 12},
        }
        self._forms = {name: book.add_format(settings) for name, settings in made.items()}
        sums = {name: {**made[name], "bold": True, "top": 2} for name in ("text", "centre", "number", "decimal", "percent")}
        self._sums = {name: book.add_format(settings) for name, settings in sums.items()}

    def text(self) -> None:
        """Title, paragraphs and rules."""
        sheet = self._sheet("通报正文", landscape=False)
        sheet.set_column(0, PROSE_COLUMNS - 1, 11)
        sheet.set_row(0, 30)
        sheet.merge_range(0, 0, 0, PROSE_COLUMNS - 1, self._answer["title"], self._forms["title"])
        row = 2
        for section in self._answer["sections"]:
            row = self._prose(sheet, row, section["heading"], [section["text"]])
        self._prose(sheet, row, "说明", [*self._answer["notes"], *freeze_notes(self._answer)])

    def counts(self) -> None:
        """The counts of each unit, and their chart on a sheet of its own, so that each prints well."""
        columns = [
            Column("位次", 6), Column("县(市、区)", 13, "text"), Column("试点", 6, "centre"), Column("办件量", 9),
            Column("占比", 9, "percent"), Column("当月办理", 10), Column("上月办理", 10), Column("上月位次", 10),
            Column("申报", 9), Column("受理", 9), Column("办结", 9),
        ]  # fmt: skip
        rows = [
            (r["rank"], r["name"], "是" if r["pilot"] else "", r["count"], r["share"], r["added"], r["added_before"],
             r["rank_before"], r["applied"], r["accepted"], r["completed"])
            for r in self._answer["rows"]
        ]  # fmt: skip
        t = self._answer["totals"]
        share = 1.0 if self._answer["total"] else None
        total = (
            None, "全市", "", self._answer["total"], share, t["added"], t["added_before"], None, t["applied"], t["accepted"],
            t["completed"],
        )  # fmt: skip
        self._table(COUNTS_SHEET, f"各县(市、区)“{self._answer['item_name']}”办件情况", columns, rows, total)
        drawn = self._book.add_chartsheet("办件量图")
        drawn.set_paper(A4)
        drawn.set_landscape()
        drawn.set_chart(counts_chart(self._book, self._answer, COUNTS_SHEET, FIRST_ROW, (1, 3)))

    def halls(self) -> None:
        """How many companies of each unit are in its hall."""
        columns = [
            Column("县(市、区)", 14, "text"), Column("应进驻", 10), Column("已进驻", 10), Column("进驻率", 10, "percent"),
            Column("备注", 16, "text"),
        ]  # fmt: skip
        told = self._answer["co_location"]
        rows = [
            (r["name"], r["applicable"], r["co_located"], r["rate"], "无企业进驻" if r["none_at_all"] else "")
            for r in told["counties"]
        ]
        t = told["total"]
        total = ("全市", t["applicable"], t["co_located"], t["rate"], f"{t['none_at_all']}个单位无企业进驻")
        self._table("企业进驻", "水电气暖网等企业进驻政务服务大厅情况", columns, rows, total)

    def companies(self) -> None:
        """Each company and service of each unit, and how it stands in the hall."""
        columns = [
            Column("县(市、区)", 14, "text"), Column("企业", 34, "text"), Column("服务", 10, "text"),
            Column("进驻情况", 24, "text"), Column("自何日起", 13, "centre"),
        ]  # fmt: skip
        rows = [
            (
                hall["name"], c["name"], SERVICES.get(c["service"], c["service"]), STANDING[standing(c)],
                c["since"] or "",
            )
            for hall in self._answer["co_location"]["counties"]
            for c in hall["companies"]
        ]  # fmt: skip
        self._table("进驻企业", "各县(市、区)企业进驻明细", columns, rows)

    def idle_windows(self) -> None:
        """Windows where nothing was handled (进厅不办事)."""
        columns = [
            Column("县(市、区)", 14, "text"), Column("企业", 34, "text"), Column("服务", 10, "text"),
            Column("是否报送办理数", 16, "centre"),
        ]  # fmt: skip
        names = {county["county"]: county["name"] for county in self._answer["rows"]}
        rows = [
            (names[r["county"]], r["name"], SERVICES.get(r["service"], r["service"]), _yes(r["reported"]))
            for r in self._answer["idle_windows"]
        ]
        self._table("进厅不办事", "进厅不办事的窗口", columns, rows)

    def installations(self) -> None:
        """Joint installation by unit and service."""
        columns = [
            Column("县(市、区)", 14, "text"), Column("服务", 10, "text"), Column("受理", 9), Column("接通", 9), Column("取消", 9),
            Column("在办", 9), Column("临期", 9), Column("超期", 9), Column("办理工作日中位数", 18, "decimal"),
        ]  # fmt: skip
        names = {county["county"]: county["name"] for county in self._answer["rows"]}
        counted = ("opened", "connected", "cancelled", "in_progress", "due_soon", "overdue")
        rows = [
            (names[r["county"]], SERVICES.get(r["service"], r["service"]), *(r[name] for name in counted), r["median_working_days"])
            for r in self._answer["installations"]
        ]
        total = ("全市", "", *(sum(r[name] for r in self._answer["installations"]) for name in counted), None)
        self._table("联合报装", "联合报装办理情况", columns, rows, total)

    def restatement(self) -> None:
        """Each figure that present knowledge changes."""
        columns = [
            Column("单位", 14, "text"), Column("指标", 40, "text"), Column("冻结时", 20, "either"), Column("现在", 20, "either"),
        ]  # fmt: skip
        restated = self._answer["restatement"]
        rows = [
            (r["name"], r["measure_name"], value_in_words(r["measure"], r["frozen"]), value_in_words(r["measure"], r["now"]))
            for r in (*restated["total"], *restated["changes"])
        ]
        self._table("冻结后的更正", "冻结后的更正", columns, rows)

    def _sheet(self, name: str, *, landscape: bool) -> Worksheet:
        sheet: Worksheet = self._book.add_worksheet(name)
        sheet.set_paper(A4)
        sheet.fit_to_pages(1, 0)
        sheet.set_margins(left=0.6, right=0.6, top=0.7, bottom=0.7)
        sheet.center_horizontally()
        sheet.set_footer("&C&P / &N")
        if landscape:
            sheet.set_landscape()
        return sheet

    def _table(
        self,
        name: str,
        title: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Any]],
        total: Sequence[Any] | None = None,
    ) -> Worksheet:
        """A sheet with a table: title, header that stays and is repeated on each page, rows, and the city's row below."""
        sheet = self._sheet(name, landscape=len(columns) > 8)
        sheet.set_row(0, 30)
        sheet.merge_range(0, 0, 0, len(columns) - 1, typeset(title), self._forms["title"])
        sheet.set_row(HEADER_ROW, 22)
        for place, column in enumerate(columns):
            sheet.set_column(place, place, column.width)
            sheet.write_string(HEADER_ROW, place, typeset(column.header), self._forms["header"])
        for number, row in enumerate(rows, start=FIRST_ROW):
            self._row(sheet, number, row, columns, self._forms)
        if total is not None:
            self._row(sheet, FIRST_ROW + len(rows), total, columns, self._sums)
        sheet.freeze_panes(FIRST_ROW, 0)
        sheet.repeat_rows(HEADER_ROW)
        sheet.autofilter(HEADER_ROW, 0, HEADER_ROW + len(rows), len(columns) - 1)
        return sheet

    def _row(self, sheet: Worksheet, number: int, row: Sequence[Any], columns: Sequence[Column], forms: Mapping[str, Any]) -> None:
        for place, (value, column) in enumerate(zip(row, columns, strict=True)):
            sheet.write(number, place, value, forms[column.form])

    def _prose(self, sheet: Worksheet, row: int, heading: str, texts: Iterable[str]) -> int:
        """Writes a heading and paragraphs from ``row``; gives the next free row, one left empty."""
        sheet.write_string(row, 0, heading, self._forms["heading"])
        for text in texts:
            row += 1
            # The height of merged cells does not follow their text: about 42 Chinese characters a line.
            sheet.set_row(row, 16 * (1 + len(text) // 42))
            sheet.merge_range(row, 0, row, PROSE_COLUMNS - 1, typeset(text), self._forms["prose"])
        return row + 2


def _yes(value: bool) -> str:
    return "是" if value else "否"
