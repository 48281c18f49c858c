"""Sheets as companies fill them in, made for tests with openpyxl upon the real template."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

from openpyxl import Workbook, load_workbook

from services.utilities.domain.sheets.template import template

STEP = {"报装编号": "GS-1", "县(市、区)": "满城区", "服务": "燃气", "环节": "受理", "发生时间": "2024-05-01"}
HALL = {"县(市、区)": "满城区", "服务": "燃气", "进驻形式": "综合窗口", "办理业务": "报装和公用服务", "生效日期": "2024-03-01"}
MONTH = {"县(市、区)": "满城区", "服务": "燃气", "月份": "2024-05", "公用服务办件数": 7}

Rows = Sequence[Mapping[str, Any]]


def filled(steps: Rows = (), halls: Rows = (), months: Rows = (), mend: Callable[[Workbook], object] = lambda _: None) -> bytes:
    """The template with these rows, values by the titles of their columns; ``mend`` may do as a person would then."""
    book = load_workbook(BytesIO(template()))
    for title, rows in (("报装进度", steps), ("大厅进驻", halls), ("窗口办件", months)):
        page = book[title]
        places = {str(cell.value).rstrip("*"): index for index, cell in enumerate(page[1], 1)}
        for number, row in enumerate(rows, 2):
            for name, value in row.items():
                page.cell(number, places[name], value)
    mend(book)
    return saved(book)


def saved(book: Workbook) -> bytes:
    """The workbook's bytes."""
    out = BytesIO()
    book.save(out)
    return out.getvalue()
