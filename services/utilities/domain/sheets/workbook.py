"""The workbook that we write into: its formats, its drop-downs, and values that never become formulas."""

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from io import BytesIO
from typing import Any, Final

import xlsxwriter
from openpyxl.utils.datetime import WINDOWS_EPOCH, from_excel
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_col_to_name
from xlsxwriter.worksheet import Worksheet

from services.utilities.domain.sheets import layout
from services.utilities.domain.sheets.layout import Column, PageLayout
from services.utilities.domain.sheets.reading import Bad

MADE_AT: Final = datetime(2024, 1, 1)  # noqa: DTZ001
"""Written into each sheet as its time of making, so that equal content is equal bytes."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What drop-downs offer: a company's own counties and services, or all."""

    counties: Collection[str] | None = None
    services: Collection[str] | None = None

    def words(self, column: Column) -> list[str]:
        assert column.choices is not None, "only choices are offered"
        only = {"county": self.counties, "service": self.services}.get(column.field)
        return [word for word, meaning in column.choices.items() if only is None or meaning in only]


@dataclass(slots=True)
class SheetWriter:
    """A workbook under way, with the formats that all pages share."""

    out: BytesIO = field(default_factory=BytesIO)
    book: xlsxwriter.Workbook = field(init=False)
    formats: dict[str, Format] = field(init=False)

    def __post_init__(self) -> None:
        # strings_to_*: what a company wrote must come back as text, never as a formula or a link.
        options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
        self.book = xlsxwriter.Workbook(self.out, options)
        self.book.set_properties({"title": "水电气暖网企业报送表", "created": MADE_AT})
        base = {"font_name": "宋体", "font_size": 11, "valign": "vcenter"}
        bad = base | {"bg_color": "#FFC7CE", "font_color": "#9C0006", "border": 1}
        head = base | {"bold": True, "border": 1, "text_wrap": True, "align": "center"}
        self.formats = {
            name: self.book.add_format(properties)
            for name, properties in {
                "plain": base | {"num_format": "@"},
                "number": base | {"num_format": "0"},
                "instant": base | {"num_format": "yyyy-mm-dd hh:mm"},
                "day": base | {"num_format": "yyyy-mm-dd"},
                "month": base | {"num_format": "@"},
                "quiet": base | {"num_format": "@", "font_color": "#767676"},
                "required": head | {"bg_color": "#FCE4D6"},
                "optional": head | {"bg_color": "#DDEBF7"},
                "bad": bad,
                "bad_instant": bad | {"num_format": "yyyy-mm-dd hh:mm"},
                "title": base | {"bold": True, "font_size": 16},
                "heading": base | {"bold": True, "font_size": 12, "bg_color": "#DDEBF7"},
                "text": base | {"text_wrap": True, "valign": "top"},
                "problem": base | {"font_color": "#9C0006", "text_wrap": True},
            }.items()
        }  # fmt: skip

    def close(self) -> bytes:
        self.book.close()
        return self.out.getvalue()


def add_choices(book: SheetWriter, offer: Offer) -> dict[tuple[str, str], str]:
    """The hidden page of words, and where the list of each page's column stands."""
    sheet = book.book.add_worksheet(layout.CHOICES_PAGE)
    sheet.hide()
    lists: dict[tuple[str, str], str] = {}
    for page in layout.PAGES:
        for column in page.columns:
            if column.choices is None or column.field == "operation":
                continue
            words = offer.words(column)
            at = len(lists)
            sheet.write_column(0, at, words)
            name = xl_col_to_name(at, col_abs=True)
            lists[page.kind, column.field] = f"='{layout.CHOICES_PAGE}'!{name}$1:{name}${max(1, len(words))}"
    return lists


def add_drop_downs(
    sheet: Worksheet, page: PageLayout, columns: Mapping[int, Column], lists: Mapping[tuple[str, str], str], first: int = 1
) -> None:
    """The rules of input of ``page``, by the index of each column, from row index ``first`` on."""
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    for index, column in columns.items():
        if column.choices is not None:
            source: Any = lists.get((page.kind, column.field)) or [*page.operations, layout.REPORTED]
            rule: dict[str, Any] = {"validate": "list", "source": source}
        elif column.kind in ("instant", "day"):
            rule = {"validate": "date", "criteria": ">=", "value": date(2000, 1, 1), "error_type": "warning"}
        elif column.kind == "count":
            rule = {"validate": "integer", "criteria": ">=", "value": 0}
        else:
            continue
        words = {"error_title": column.title, "error_message": column.help[:250], "ignore_blank": True}
        sheet.data_validation(first, index, first + layout.MOST_ROWS, index, rule | words)


def put(
    work: SheetWriter,
    sheet: Worksheet,
    row: int,
    column: int,
    value: Any,
    *,
    kind: str | None = None,
    bad: bool = False,
    epoch: datetime = WINDOWS_EPOCH,
) -> None:
    """One value, by its own type; never a formula. A serial date of another ``epoch`` is written by ours."""
    formats = work.formats
    if kind in ("instant", "day") and isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            value = from_excel(value, epoch)
    if isinstance(value, Bad):
        sheet.write_string(row, column, value.value, formats["bad"])
    elif isinstance(value, bool):
        sheet.write_boolean(row, column, value, formats["bad" if bad else "plain"])
    elif isinstance(value, int | float):
        sheet.write_number(row, column, value, formats["bad" if bad else "number"])
    elif isinstance(value, datetime | date | time | timedelta):
        day = isinstance(value, date) and not isinstance(value, datetime)
        style = formats["bad_instant" if bad else "day" if day or kind == "day" else "instant"]
        sheet.write_datetime(row, column, value, style)  # type: ignore[call-overload]  # its annotation forgets date and time
    else:
        sheet.write_string(row, column, str(value), formats["bad" if bad else "plain"])
