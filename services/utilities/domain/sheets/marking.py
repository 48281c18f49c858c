"""A copy of a refused sheet with its bad cells marked."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from xlsxwriter.utility import xl_cell_to_rowcol
from xlsxwriter.worksheet import Worksheet

from services.utilities.domain.sheets import layout
from services.utilities.domain.sheets.checking import Issue
from services.utilities.domain.sheets.reading import Book, Page
from services.utilities.domain.sheets.workbook import Offer, SheetWriter, add_choices, add_drop_downs, put

MOST_COMMENTS: Final = 1_000
"""Cells that carry their message as a comment; the list of errors has them all."""


def marked(book: Book, issues: Sequence[Issue]) -> bytes:
    """A copy of ``book``: every value at its place, bad cells red with what is wrong, and a list of all errors.

    It holds values, not formulas, and none of the original's own formats.
    """
    work = SheetWriter()
    errors = work.book.add_worksheet(layout.ERRORS_PAGE)
    sheets = [(page, work.book.add_worksheet(page.layout.title)) for page in book.pages]
    lists = add_choices(work, Offer())
    comments = MOST_COMMENTS
    for page, sheet in sheets:
        at: dict[int, list[Issue]] = defaultdict(list)
        for issue in issues:
            if issue.page == page.layout.title and issue.row is not None:
                at[issue.row].append(issue)
        comments -= _copy(work, sheet, page, at, comments, book)
        columns = {place.index - 1: place.column for place in page.places.values()}
        add_drop_downs(sheet, page.layout, columns, lists, max(page.header, 1))
    _list_errors(work, errors, issues)
    return work.close()


def _copy(work: SheetWriter, sheet: Worksheet, page: Page, issues: Mapping[int, Sequence[Issue]], comments: int, book: Book) -> int:
    """Writes the page; returns how many comments it took."""
    required = {place.index for place in page.places.values() if place.column.required}
    last = max([*page.titles, *(place.index for place in page.places.values())], default=0)
    for index, title in page.titles.items():
        sheet.write_string(page.header - 1, index - 1, title, work.formats["required" if index in required else "optional"])
    for place in page.places.values():
        sheet.set_column(place.index - 1, place.index - 1, place.column.width)
    extra = next((i for i, title in page.titles.items() if title == layout.ERRORS_COLUMN), last + 1)
    sheet.write_string(max(page.header - 1, 0), extra - 1, layout.ERRORS_COLUMN, work.formats["required"])
    sheet.set_column(extra - 1, extra - 1, 60)
    sheet.freeze_panes(max(page.header, 1), 0)
    kinds = {place.index: place.column.kind for place in page.places.values()}
    used = 0
    for row in page.rows:
        of_row = issues.get(row.number, ())
        bad = {xl_cell_to_rowcol(issue.cell)[1]: issue for issue in of_row if issue.cell}
        for index, value in row.values.items():
            if index != extra:
                put(
                    work, sheet, row.number - 1, index - 1, value,
                    kind=kinds.get(index), bad=index - 1 in bad, epoch=book.epoch,
                )  # fmt: skip
        for index, issue in bad.items():
            if index + 1 not in row.values:
                sheet.write_blank(row.number - 1, index, None, work.formats["bad"])
            if used < comments:
                sheet.write_comment(row.number - 1, index, issue.message, {"author": "", "x_scale": 1.6})
                used += 1
        if of_row:
            words = ";".join(f"{issue.column}:{issue.message}" if issue.column else issue.message for issue in of_row)
            sheet.write_string(row.number - 1, extra - 1, words, work.formats["problem"])
    return used


def _list_errors(work: SheetWriter, sheet: Worksheet, issues: Sequence[Issue]) -> None:
    for index, (title, width) in enumerate((("工作表", 14), ("行", 8), ("列", 18), ("单元格", 10), ("问题", 70))):
        sheet.write_string(0, index, title, work.formats["optional"])
        sheet.set_column(index, index, width)
    sheet.freeze_panes(1, 0)
    for number, issue in enumerate(issues, 1):
        sheet.write_string(number, 0, issue.page)
        if issue.row is not None:
            sheet.write_number(number, 1, issue.row)
        sheet.write_string(number, 2, issue.column or "")
        if issue.cell:
            sheet.write_url(number, 3, f"internal:'{issue.page}'!{issue.cell}", string=issue.cell)
        sheet.write_string(number, 4, issue.message, work.formats["problem"])
    sheet.autofilter(0, 0, max(1, len(issues)), 4)
