"""The template, and a sheet filled in to go on with."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from xlsxwriter.worksheet import Worksheet

from services.utilities.domain.sheets import layout
from services.utilities.domain.sheets.checking import MARK_LENGTH, digest_of
from services.utilities.domain.sheets.layout import Column, PageKind
from services.utilities.domain.sheets.workbook import Offer, SheetWriter, add_choices, add_drop_downs, put
from shared.clock import SHANGHAI

Rows = Mapping[PageKind, Sequence[Mapping[str, Any]]]
"""Wire values by field, row by row, of each page."""


def template(offer: Offer | None = None) -> bytes:
    """An empty sheet."""
    return filled({}, "", offer)


def filled(rows: Rows, company: str, offer: Offer | None = None) -> bytes:
    """A sheet whose first rows stand already (:data:`layout.REPORTED`), to go on below them."""
    offer = offer or Offer()
    book = SheetWriter()
    pages = [(page, book.book.add_worksheet(page.title)) for page in layout.PAGES]
    _guide(book, book.book.add_worksheet(layout.GUIDE_PAGE))
    lists = add_choices(book, offer)
    for page, sheet in pages:
        _head(book, sheet, page.columns)
        add_drop_downs(sheet, page, dict(enumerate(page.columns)), lists)
        for number, fields in enumerate(rows.get(page.kind, ()), 1):
            mark = digest_of(page, fields, company)[:MARK_LENGTH]
            own = {"operation": layout.REPORTED, "company": company, "mark": mark}
            for index, column in enumerate(page.columns):
                value = {**fields, **own}.get(column.field)
                if value is not None:
                    put(book, sheet, number, index, _shown(column, value))
    return book.close()


def _shown(column: Column, value: Any) -> Any:
    """A wire value as people read it."""
    if column.choices is not None:
        return layout.word_of(column.choices, tuple(value) if isinstance(value, list) else value)
    if column.kind == "instant":
        return _wall_clock(value).astimezone(SHANGHAI).replace(tzinfo=None)
    if column.kind == "day":
        return date.fromisoformat(value)
    return value


def _wall_clock(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _head(book: SheetWriter, sheet: Worksheet, columns: Iterable[Column]) -> None:
    for index, column in enumerate(columns):
        title = column.title + ("*" if column.required else "")
        sheet.write_string(0, index, title, book.formats["required" if column.required else "optional"])
        sheet.write_comment(0, index, column.help, {"x_scale": 2, "y_scale": 1.2, "author": ""})
        kind = {"instant": "instant", "day": "day", "count": "number", "mark": "quiet"}.get(column.kind, "plain")
        sheet.set_column(index, index, column.width, book.formats[kind])
    sheet.freeze_panes(1, 0)
    sheet.set_row(0, 30)


_RULES: Final = (
    "一、在“报装进度”“大厅进驻”“窗口办件”三页里填写,哪页有内容就报哪页。每页第一行是列名,请勿改名;列可以换位置,可以另加自己的列(不读取)。",
    f"二、带*的列必填。一份表最多{layout.MOST_ROWS}行。空行不要紧;合并单元格按每行都填了同样的内容读取。",
    "三、同一份表重复报送不会重复计算;上次的行可以留着不动,在下面接着填。",
    "四、报错了怎么办:另起一行(或直接改那一行),操作选“更正”,填正确的内容,再报一次;后报的为准。环节根本没有发生的,操作选“撤回”。",
    "    曾经报过、后来又改掉的内容,如要再改回去,请在“说明”里写一句,使它和以前的那一行不同。",
    "五、有一行不对,整份都不收,并逐行指出问题;下载标注后的副本,改好红色的单元格再报。",
    "六、不要在表里写姓名、电话、身份证号、住址等个人信息。",
)

_EXAMPLES: Final[Mapping[PageKind, tuple[tuple[str, ...], ...]]] = {
    "installation": (
        ("", "GS-2024-0015", "", "满城区", "供水", "受理", "2024-09-02", "居民", ""),
        ("", "GS-2024-0015", "", "满城区", "供水", "接通", "2024-09-06 16:30", "居民", ""),
        ("更正", "GS-2024-0015", "", "满城区", "供水", "接通", "2024-09-07", "居民", "原日期填错"),
    ),
    "presence": (("", "满城区", "供水", "综合窗口", "报装和公用服务", "2024-03-01", "大厅A12窗口"),),
    "window": (("", "满城区", "供水", "2024-09", "36"), ("", "清苑区", "供水", "2024-09", "0")),
}


def _guide(book: SheetWriter, sheet: Worksheet) -> None:
    """The page that explains how to fill in the others."""
    formats = book.formats
    sheet.set_column(0, 0, 18)
    sheet.set_column(1, 11, 16)
    sheet.hide_gridlines(2)
    sheet.write_string(0, 0, "水电气暖网企业报送表 · 填写说明", formats["title"])
    row = 2
    for rule in _RULES:
        sheet.merge_range(row, 0, row, 8, rule, formats["text"])
        sheet.set_row(row, 20)
        row += 1
    for page in layout.PAGES:
        row += 1
        sheet.merge_range(row, 0, row, 8, f"{page.title}:{page.purpose}", formats["heading"])
        for column in page.columns:
            row += 1
            sheet.write_string(row, 0, column.title, formats["text"])
            sheet.write_string(row, 1, "必填" if column.required else "可不填", formats["text"])
            words = column.help
            if column.choices is not None and column.field not in ("county", "operation"):
                words += f" 可填:{'、'.join(column.choices)}。"
            sheet.merge_range(row, 2, row, 8, words, formats["text"])
            sheet.set_row(row, 20)
        row += 1
        sheet.write_string(row, 0, "例", formats["text"])
        for example in _EXAMPLES[page.kind]:
            for index, text in enumerate(example):
                sheet.write_string(row, index + 1, text, formats["plain"])
            row += 1
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
