"""From the bytes of a sheet to its cells: pages found by name, columns by their titles wherever they stand."""

import contextlib
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from io import BytesIO
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from openpyxl import load_workbook
from openpyxl.utils.cell import get_column_letter
from openpyxl.worksheet._reader import FORMULA_TAG, WorkSheetParser

from services.utilities.domain.sheets import layout
from services.utilities.domain.sheets.archive import SheetRefused, guard
from services.utilities.domain.sheets.layout import Column, PageLayout

HEADER_WITHIN: Final = 10
"""Titles are looked for in so many rows: people put a heading above them."""

MOST_COLUMNS: Final = 100
MOST_ROWS_SEEN: Final = 200_000
"""Rows of the file, empty ones with a format included."""

LONGEST_TEXT: Final = 2_000


class Bad(Enum):
    """What stands in a cell instead of a value."""

    NO_RESULT = "公式没有计算结果:请在表格软件里打开并保存一次,或直接填写值"
    ERROR = "单元格是错误值(如 #N/A):请直接填写值"
    TOO_LONG = f"内容超过{LONGEST_TEXT}字"


Value = Any
"""str, int, float, bool, datetime, date, time, timedelta, or :class:`Bad`; never ``None``."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a column stands."""

    column: Column
    index: int

    def cell(self, row: int) -> str:
        return f"{get_column_letter(self.index)}{row}"


@dataclass(frozen=True, slots=True)
class Row:
    """A filled row: its number as people see it, and its values by the column's index."""

    number: int
    values: Mapping[int, Value]


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it was filled. ``header`` is the row of titles; ``titles`` are all of its texts by index."""

    layout: PageLayout
    header: int
    titles: Mapping[int, str]
    places: Mapping[str, Place]
    rows: tuple[Row, ...]
    missing: tuple[Column, ...] = ()
    doubled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Book:
    """The pages of ours, and the names of visible pages that are not read. ``epoch`` is day 0 of its serial dates."""

    pages: tuple[Page, ...]
    unread: tuple[str, ...]
    epoch: datetime


@dataclass(frozen=True, slots=True)
class Table:
    """Any table: the row of its titles, the titles by index, and the filled rows below, each with its number."""

    header: int
    titles: Mapping[int, str]
    rows: tuple[tuple[int, Mapping[int, Value]], ...]
    epoch: datetime


class _Parser(WorkSheetParser):
    """openpyxl's own parser of a page's rows, which gives only rows that are there, never fills gaps.

    Its public readers fill every missing row and cell, so that one far cell costs memory without bound.
    """

    def parse_cell(self, element: Any) -> dict[str, Any]:
        cell: dict[str, Any] = super().parse_cell(element)
        if cell["data_type"] == "e":
            cell["value"] = Bad.ERROR
        elif cell["value"] is None and element.find(FORMULA_TAG) is not None:
            cell["value"] = Bad.NO_RESULT
        return cell


def read(content: bytes) -> Book:
    """The sheet's pages.

    Raises:
        SheetRefused: it cannot be opened, is none of ours, or has too many rows; the message says what to do.
    """
    with _opened(content) as book:
        return _read(book)


def read_table(content: bytes) -> Table:
    """The first visible page that holds something, whatever its titles are: they stand in its first filled row.

    Raises:
        SheetRefused: it cannot be opened, is empty, or has too many rows.
    """
    with _opened(content) as book:
        for sheet in book.worksheets:
            rows = sorted(_rows(book, sheet, layout.MOST_ROWS).items()) if sheet.sheet_state == "visible" else []
            if rows:
                (header, titles), *rest = rows
                return Table(header, {index: str(title) for index, title in titles.items()}, tuple(rest), book.epoch)
    raise SheetRefused("empty", "文件是空的。")


@contextlib.contextmanager
def _opened(content: bytes) -> Iterator[Any]:
    """The workbook by openpyxl; whatever breaks while it is read is the file's fault, and is said so."""
    guard(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of extensions that openpyxl leaves out
            book = load_workbook(BytesIO(content), read_only=True, data_only=True, keep_links=False)
            try:
                yield book
            finally:
                book.close()
    except (ParseError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, RecursionError, OverflowError):
        raise SheetRefused("broken", "文件内容有错,读不出来:请用表格软件打开后重新保存为 .xlsx,再报送。") from None


def _read(book: Any) -> Book:
    pages: list[Page] = []
    unread: list[str] = []
    left = layout.MOST_ROWS
    known = {plain(page.title): page for page in layout.PAGES}
    for sheet in book.worksheets:
        wanted = known.get(plain(sheet.title))
        if wanted is None:
            if sheet.sheet_state == "visible" and sheet.title not in layout.OWN_PAGES:
                unread.append(sheet.title)
            continue
        if any(page.layout is wanted for page in pages):
            raise SheetRefused("doubled-page", f"有两个名为“{wanted.title}”的工作表:请删去一个。")
        page = _page(wanted, _rows(book, sheet, left))
        if page.rows and sheet.sheet_state != "visible":
            raise SheetRefused("hidden", f"工作表“{sheet.title}”被隐藏但有内容:请取消隐藏、核对后再报送,或清空它。")
        left -= len(page.rows)
        if left < 0:
            raise _too_many()
        pages.append(page)
    if not pages:
        names = "、".join(page.title for page in layout.PAGES)
        raise SheetRefused("other-template", f"没有找到名为“{names}”的工作表:请使用本系统的模板,不要改工作表的名字。")
    return Book(tuple(sorted(pages, key=lambda page: layout.PAGES.index(page.layout))), tuple(unread), book.epoch)


def _rows(book: Any, sheet: Any, most: int) -> dict[int, dict[int, Value]]:
    """Filled rows by number, merged cells filled downwards.

    Raises:
        SheetRefused: over ``most`` rows with a value, beside those above the titles.
    """
    found: dict[int, dict[int, Value]] = {}
    with sheet._get_source() as source:
        parser = _Parser(
            source, sheet._shared_strings, data_only=True, epoch=book.epoch,
            date_formats=book._date_formats, timedelta_formats=book._timedelta_formats,
        )  # fmt: skip
        for seen, (number, cells) in enumerate(parser.parse()):
            if seen > MOST_ROWS_SEEN or len(found) > most + HEADER_WITHIN:
                raise _too_many()
            values = {cell["column"]: value for cell in cells if (value := _value(cell)) is not None}
            if values:
                found.setdefault(number, {}).update(values)
        _fill_merged(found, parser.merged_cells.mergeCell if parser.merged_cells else ())
    return found


def _too_many() -> SheetRefused:
    return SheetRefused("too-many-rows", f"超过{layout.MOST_ROWS}行:请分成几份报送。")


def _value(cell: Mapping[str, Any]) -> Value | None:
    value = cell["value"]
    if cell["column"] > MOST_COLUMNS:
        return None
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            return Bad.TOO_LONG
        return value if value.strip() else None
    return value


def _fill_merged(rows: dict[int, dict[int, Value]], merged: Any) -> None:
    """A value of cells merged over several rows holds for each row that has values of its own."""
    numbers = sorted(rows)
    own = {number: frozenset(values) for number, values in rows.items()}
    for area in merged:
        value = rows.get(area.min_row, {}).get(area.min_col)
        if value is None or area.max_row == area.min_row:
            continue
        for number in numbers:
            if area.min_row < number <= area.max_row and own[number]:
                rows[number].setdefault(area.min_col, value)


def _page(wanted: PageLayout, rows: Mapping[int, Mapping[int, Value]]) -> Page:
    by_title = {plain(column.title): column for column in wanted.columns}
    header, titles = _header(rows, by_title)
    places: dict[str, Place] = {}
    doubled: list[str] = []
    for index, title in sorted(titles.items()):
        column = by_title.get(plain(title))
        if column is None:
            continue
        if column.field in places:
            doubled.append(column.title)
        else:
            places[column.field] = Place(column, index)
    filled = tuple(
        Row(number, values)
        for number, values in sorted(rows.items())
        if number > header and any(place.index in values for place in places.values())
    )
    missing = tuple(column for column in wanted.columns if column.required and column.field not in places)
    return Page(wanted, header, titles, places, filled, missing, tuple(doubled))


def _header(rows: Mapping[int, Mapping[int, Value]], by_title: Mapping[str, Column]) -> tuple[int, dict[int, str]]:
    """The row with the most of our titles among the first, and its texts."""

    def ours(values: Mapping[int, Value]) -> int:
        return sum(1 for value in values.values() if isinstance(value, str) and plain(value) in by_title)

    first = [(number, values) for number, values in sorted(rows.items()) if number <= HEADER_WITHIN]
    if not first:
        return 0, {}
    number, values = max(first, key=lambda entry: (ours(entry[1]), -entry[0]))
    if not ours(values):
        return 0, {}
    return number, {index: value for index, value in values.items() if isinstance(value, str)}


INVISIBLE: Final = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
"""Marks without width, which come along when text is copied from a web page."""


def plain(text: str) -> str:
    """A title as it is compared: full-width forms as usual ones, without blanks, stars and invisible marks."""
    return re.sub(r"[\s*]+", "", INVISIBLE.sub("", unicodedata.normalize("NFKC", text)))


def columns_unread(page: Page) -> Iterator[str]:
    """Titles of the page that are none of ours."""
    read = {place.index for place in page.places.values()}
    return (title for index, title in sorted(page.titles.items()) if index not in read and title != layout.ERRORS_COLUMN)
