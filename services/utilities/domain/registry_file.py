"""The registry as a file, CSV or XLSX: read whole or not at all, each wrong line named in Chinese; and written again."""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any, Final, NamedTuple

import xlsxwriter
from openpyxl.utils.datetime import WINDOWS_EPOCH

from services.utilities.domain.registry import Pair, RegistryErrors, subject_of
from services.utilities.domain.sheets import layout
from services.utilities.domain.sheets.archive import SheetRefused
from services.utilities.domain.sheets.layout import Column
from services.utilities.domain.sheets.reading import Table, plain, read_table
from services.utilities.domain.sheets.values import Wrong, read_value
from shared.events.case import Service
from shared.events.envelope import CONTROL_CHARACTER
from shared.events.progress import RegistryPeriod, RegistryState

COLUMNS: Final = (
    Column("company", "企业编号", "identifier", "字母、数字、点、横线、下划线", True, 20),
    Column("name", "企业名称", "text", "给人看的名称", True, 28),
    Column("service", "服务", "choice", "", True, 10, layout.SERVICES),
    Column("county", "县(市、区)", "choice", "", True, 14, layout.COUNTIES),
    Column("valid_from", "起始日期", "day", "从这一天起服务该县", True, 14),
    Column("valid_to", "终止日期", "day", "不再服务的第一天;仍在服务的留空", False, 14),
    Column("office", "联系科室", "text", "企业有问题时联系的审批局科室", False, 20),
    Column("phone", "办公电话", "text", "该科室的办公电话,不填个人手机号", False, 18),
)
"""What a line says. Titles may also be the fields' names, as in CSV of other programs."""

LONGEST_NAME: Final = 100

_SOMEBODYS: Final = re.compile(r"(?<!\d)1[3-9]\d-?\d{4}-?\d{4}(?!\d)|\d{15}")
"""A mobile phone or an identity number; an office's telephone has an area code and neither form."""


class Contact(NamedTuple):
    """Whom a company may ask at the bureau: an office and its telephone."""

    office: str
    phone: str


@dataclass(frozen=True, slots=True)
class RegistryFile:
    """The whole registry, by subject; ``contacts`` by subject too, of those that have one."""

    states: tuple[RegistryState, ...]
    contacts: Mapping[str, Contact]


class _Line(NamedTuple):
    number: int
    pair: Pair
    name: str
    period: RegistryPeriod
    contact: Contact


def read_registry(content: bytes) -> RegistryFile:
    """The whole registry from CSV (UTF-8 or GB18030) or XLSX.

    A pair may have several lines: periods that do not overlap. ``valid_to`` is the first day without, or empty.

    Raises:
        RegistryErrors: a line is wrong, contradicts another, or there is none.
    """
    try:
        table = read_table(content) if content.startswith(b"PK") else _csv(content)
    except SheetRefused as error:
        raise RegistryErrors([str(error)]) from None
    places = {_field(title): index for index, title in table.titles.items() if _field(title) is not None}
    missing = [column.title for column in COLUMNS if column.required and column.field not in places]
    if missing:
        raise RegistryErrors([f"第{max(table.header, 1)}行:缺少{'、'.join(missing)}列(列名:{'、'.join(c.title for c in COLUMNS)})"])
    lines: list[_Line] = []
    errors: list[str] = []
    for number, values in table.rows:
        try:
            lines.append(_line(number, {field: values.get(index) for field, index in places.items()}, table))
        except RegistryErrors as error:
            errors += error.errors
    errors += _contradictions(lines)
    if errors:
        raise RegistryErrors(errors)
    if not lines:
        raise RegistryErrors(["文件里除列名外没有一行:空的登记表会撤去所有企业"])
    by_pair: dict[Pair, list[_Line]] = {}
    for line in lines:
        by_pair.setdefault(line.pair, []).append(line)
    contacts = {subject_of(*line.pair): line.contact for line in lines if any(line.contact)}
    return RegistryFile(tuple(_state(pair, of_pair) for pair, of_pair in sorted(by_pair.items())), contacts)


def _field(title: str) -> str | None:
    return next((column.field for column in COLUMNS if plain(title) in (plain(column.title), column.field)), None)


def _csv(content: bytes) -> Table:
    """Rows of CSV. Spreadsheets in China save it as GB18030.

    Raises:
        RegistryErrors: neither encoding fits, or quotes are broken.
    """
    text = _decoded(content.removeprefix(codecs.BOM_UTF8))
    rows: list[tuple[int, Mapping[int, Any]]] = []
    titles: dict[int, str] = {}
    header = 0
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            values = {index: field for index, field in enumerate(fields, 1) if field.strip()}
            if not header and values:
                header, titles = reader.line_num, values
            elif values:
                if len(fields) > max(titles):
                    raise RegistryErrors([f"第{reader.line_num}行:比列名多出了列"])
                rows.append((reader.line_num, values))
    except csv.Error as error:
        raise RegistryErrors([f"第{reader.line_num}行:不是正确的 CSV({error})"]) from None
    return Table(header, titles, tuple(rows), WINDOWS_EPOCH)


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8", "gb18030"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text:
            return text
    raise RegistryErrors(["文件不是 UTF-8 或 GB18030 编码的 CSV,也不是 .xlsx"])


def _line(number: int, values: Mapping[str | None, Any], table: Table) -> _Line:
    """One line.

    Raises:
        RegistryErrors: with each of its cells that is wrong.
    """
    read: dict[str, Any] = {}
    errors: list[str] = []
    for column in COLUMNS:
        value = values.get(column.field)
        try:
            if value is not None:
                read[column.field] = read_value(column, value, table.epoch)
            elif column.required:
                raise Wrong("必填")
            _refuse(column, read.get(column.field))
        except Wrong as error:
            errors.append(f"第{number}行“{column.title}”列:{error}")
    begins, ends = read.get("valid_from", ""), read.get("valid_to")
    if begins and ends and ends <= begins:
        errors.append(f"第{number}行“终止日期”列:不晚于起始日期;它是不再服务的第一天")
    if errors:
        raise RegistryErrors(errors)
    period = RegistryPeriod(valid_from=date.fromisoformat(begins), valid_to=date.fromisoformat(ends) if ends else None)
    pair = Pair(read["county"], read["company"], read["service"])
    return _Line(number, pair, read["name"], period, Contact(read.get("office", ""), read.get("phone", "")))


def _refuse(column: Column, value: object) -> None:
    if not isinstance(value, str):
        return
    if CONTROL_CHARACTER.search(value):
        raise Wrong("含有看不见的控制字符:请删去后重新填写")
    if column.field == "name" and len(value) > LONGEST_NAME:
        raise Wrong(f"不超过{LONGEST_NAME}字")
    if column.field in ("office", "phone") and _SOMEBODYS.search(value):
        raise Wrong("像是个人手机号:请填科室的办公电话")


def _state(pair: Pair, lines: Iterable[_Line]) -> RegistryState:
    by_date = sorted(lines, key=lambda line: line.period.valid_from)
    return RegistryState(
        county=pair.county,
        company=pair.company,
        name=by_date[0].name,
        service=Service(pair.service),
        periods=tuple(line.period for line in by_date),
    )


def _contradictions(lines: Iterable[_Line]) -> Iterator[str]:
    """A company has one name, and the periods of a pair do not overlap."""
    named: dict[str, _Line] = {}
    for line in lines:
        first = named.setdefault(line.pair.company, line)
        if first.name != line.name:
            yield f"第{line.number}行“企业名称”列:与第{first.number}行同一企业的名称不同"
    for before, after in pairwise(sorted(lines, key=lambda line: (line.pair, line.period.valid_from, line.number))):
        ends = before.period.valid_to
        if before.pair == after.pair and (ends is None or ends > after.period.valid_from):
            yield f"第{after.number}行“起始日期”列:与第{before.number}行的起止日期重叠"


def rows_of(file: RegistryFile) -> list[tuple[str, ...]]:
    """The registry as lines of texts, in the order of :data:`COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for state in file.states:
        contact = file.contacts.get(subject_of(state.county, state.company, state.service), Contact("", ""))
        service, county = layout.word_of(layout.SERVICES, state.service), layout.word_of(layout.COUNTIES, state.county)
        for period in state.periods:
            ends = period.valid_to.isoformat() if period.valid_to else ""
            rows.append((state.company, state.name, service, county, period.valid_from.isoformat(), ends, *contact))
    return sorted(rows)


def write_csv(file: RegistryFile) -> bytes:
    """As CSV with a byte order mark, which spreadsheets need to read UTF-8."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([column.title for column in COLUMNS])
    writer.writerows(rows_of(file))
    return codecs.BOM_UTF8 + out.getvalue().encode()


def write_xlsx(file: RegistryFile) -> bytes:
    """As a workbook of one page."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    sheet = book.add_worksheet("企业登记表")
    bold = book.add_format({"bold": True, "bg_color": "#DDEBF7", "border": 1})
    for index, column in enumerate(COLUMNS):
        sheet.set_column(index, index, column.width)
        sheet.write_string(0, index, column.title, bold)
    for number, row in enumerate(rows_of(file), 1):
        for index, text in enumerate(row):
            sheet.write_string(number, index, text)
    sheet.freeze_panes(1, 0)
    book.close()
    return out.getvalue()
