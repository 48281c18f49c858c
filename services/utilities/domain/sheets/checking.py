"""From the rows of a sheet to events that are judged like pushed ones, and to words about each cell that is wrong."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from services.utilities.domain.judging import judge
from services.utilities.domain.registry import Registry, subject_of
from services.utilities.domain.sheets import layout
from services.utilities.domain.sheets.layout import CORRECT, DELETE, NEW, REPORTED, RETRACT, Column, PageLayout
from services.utilities.domain.sheets.reading import Book, Page, Row, columns_unread
from services.utilities.domain.sheets.values import Wrong, read_value
from services.utilities.domain.wire import source_of
from shared.clock import rfc3339
from shared.events.utility import INSTALLATION_TYPE, PRESENCE_TYPE, WINDOW_TYPE, InstallationStep, Level
from shared.verdicts import NOT_ENTITLED, PERSONAL_DATA, Accepted, FieldError, Rejected

TYPES: Final = {"installation": INSTALLATION_TYPE, "presence": PRESENCE_TYPE, "window": WINDOW_TYPE}
OWN_FIELDS: Final = frozenset({"operation", "note", "mark"})
REPEATING: Final = (InstallationStep.PAUSED, InstallationStep.RESUMED)
MARK_LENGTH: Final = 12
_LETTERS: Final = str.maketrans("0123456789", "ghijklmnop")

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Issue:
    """What is wrong at one place. ``row`` and ``column`` are ``None`` where a whole page is meant."""

    page: str
    row: int | None
    column: str | None
    cell: str | None
    message: str
    reason: str = "invalid"


@dataclass(frozen=True, slots=True)
class Line:
    """A row that says something: its event but for ``recorded_at``, which the receiver gives.

    ``digest`` is of the company and what the row says, however it is written: the same row again has the same.
    ``register`` is the one thing that the row sets; rows of one register compete.
    """

    page: Page
    row: Row
    type: str
    subject: str
    data: Fields
    digest: str
    register: str

    @property
    def event_id(self) -> str:
        return f"sheet-{self.digest}"

    def event(self, recorded_at: datetime) -> dict[str, Any]:
        """The CloudEvent as a company with a system of its own would push it."""
        return {
            "specversion": "1.0",
            "id": self.event_id,
            "source": source_of(self.data["company"]),
            "type": self.type,
            "subject": self.subject,
            "data": {**self.data, "recorded_at": rfc3339(recorded_at)},
        }


@dataclass(slots=True)
class Draft:
    """A sheet as read: ``lines`` can be judged, ``issues`` say what cannot be read, ``reported`` rows stand already."""

    book: Book
    lines: list[Line] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    reported: int = 0

    @property
    def rows(self) -> int:
        return sum(len(page.rows) for page in self.book.pages)

    @property
    def unread(self) -> list[str]:
        """What the sheet holds and nobody reads, in words."""
        pages = [f"工作表“{name}”" for name in self.book.unread]
        return pages + [f"“{page.layout.title}”的“{title}”列" for page in self.book.pages for title in columns_unread(page)]


def draft(book: Book, company: str, on_row: Callable[[], None] = lambda: None, *, any_company: bool = False) -> Draft:
    """Reads every row as ``company``'s; ``on_row`` hears of each.

    ``any_company``: it is not known whose sheet this is, so neither the company's column nor marks can be held against it.
    """
    drafted = Draft(book)
    for page in book.pages:
        if page.rows or not page.missing:
            drafted.issues += _of_page(page)
        if page.missing or page.doubled:
            continue
        for row in page.rows:
            on_row()
            _line(drafted, page, row, company, any_company)
    return drafted


def _of_page(page: Page) -> Iterable[Issue]:
    for column in page.missing:
        yield Issue(page.layout.title, page.header or None, column.title, None, f"缺少“{column.title}”列:请使用模板,不要改列名")
    for title in page.doubled:
        yield Issue(page.layout.title, page.header, title, None, f"“{title}”列出现了两次:请删去一列")


def _line(drafted: Draft, page: Page, row: Row, company: str, any_company: bool) -> None:
    fields: dict[str, Any] = {}
    issues: list[Issue] = []

    def wrong(name: str, message: str, reason: str = "invalid") -> None:
        column, place = page.layout.column(name), page.places.get(name)
        issues.append(
            Issue(page.layout.title, row.number, column.title, place.cell(row.number) if place else None, message, reason)
        )

    for name, place in page.places.items():
        if place.index in row.values:
            try:
                fields[name] = read_value(place.column, row.values[place.index], drafted.book.epoch)
            except Wrong as error:
                wrong(name, str(error))
    operation = fields.get("operation", NEW)
    named = {issue.column for issue in issues}
    for column in page.layout.columns:
        if _is_required(column, operation, fields) and column.field not in fields and column.title not in named:
            wrong(column.field, "必填")
    if not any_company and fields.get("company", company) != company:
        wrong("company", "不是本企业的编号:请只报本企业的情况", NOT_ENTITLED)
    if operation not in (*page.layout.operations, REPORTED) and not issues:
        wrong("operation", f"这一页只能填:{'、'.join(page.layout.operations)}")
    if not issues:
        line = line_of(page, row, fields, company)
        if operation != REPORTED:
            drafted.lines.append(line)
            return
        if not any_company and fields.get("mark") != line.digest[:MARK_LENGTH]:
            wrong("operation", f"“{REPORTED}”的行有改动:要更改请把操作改为“{CORRECT}”,新的行请填“{NEW}”")
        else:
            drafted.reported += 1
    drafted.issues += issues


def _is_required(column: Column, operation: str, fields: Fields) -> bool:
    if column.field == "handles":
        return bool(fields.get("level", Level.NONE) != Level.NONE)
    if not column.required:
        return False
    if operation == DELETE:
        return column.field in ("installation_no", "county", "service")
    if operation == RETRACT and column.field == "occurred_at":
        return bool(fields.get("step") in REPEATING)
    return not (operation == RETRACT and column.field == "public_service_handled")


def line_of(page: Page, row: Row, fields: Fields, company: str) -> Line:
    """The line of a row whose ``fields`` are read."""
    kind = page.layout.kind
    operation = fields.get("operation", NEW)
    data: dict[str, Any] = {name: value for name, value in fields.items() if name not in OWN_FIELDS}
    data["company"] = company
    if kind == "installation":
        data |= {"operation": {RETRACT: "retract", DELETE: "delete"}.get(operation, "upsert")}
        if operation == DELETE:
            data = {name: value for name, value in data.items() if name not in ("step", "occurred_at")}
        subject = data["installation_no"]
        step = data.get("step", "deleted")
        register = f"{subject}|{step}" + (f"|{data['occurred_at']}" if step in REPEATING else "")
    elif kind == "presence":
        data.setdefault("handles", ())
        subject = subject_of(data["county"], company, data["service"])
        register = f"{subject}|{data['effective_on']}"
    else:
        if operation == RETRACT:
            data = {name: value for name, value in data.items() if name != "public_service_handled"} | {"operation": "retract"}
        subject = register = f"{subject_of(data['county'], company, data['service'])}/{data['month']}"
    return Line(page, row, TYPES[kind], subject, data, digest_of(page.layout, fields, company), f"{kind}|{register}")


def digest_of(page: PageLayout, fields: Fields, company: str) -> str:
    """40 letters that stand for what a row says. A row reported already has the digest that it had as a new one.

    Letters alone: among the digits of many ids one would look like somebody's number (:mod:`shared.people`).
    """
    said = {name: value for name, value in fields.items() if name not in ("mark", "company")}
    if said.get("operation") in (None, REPORTED):
        said["operation"] = NEW
    content = orjson.dumps([company, page.kind, said], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:40].translate(_LETTERS)


@dataclass(frozen=True, slots=True)
class Judged:
    """Lines with their events, and issues of those that the rules refuse."""

    accepted: tuple[tuple[Line, Accepted], ...]
    issues: tuple[Issue, ...]


def judge_lines(
    lines: Sequence[Line], recorded: Callable[[Line], datetime], company: str, registry: Registry, now: datetime
) -> Judged:
    """Judges each line exactly as a pushed event; ``recorded`` gives each its ``recorded_at``."""
    accepted: list[tuple[Line, Accepted]] = []
    issues: list[Issue] = []
    for line in lines:
        verdict = judge(line.event(recorded(line)), company, registry, now)
        if isinstance(verdict, Accepted):
            accepted.append((line, verdict))
        else:
            issues += _refused(line, verdict)
    return Judged(tuple(accepted), tuple(issues))


def _refused(line: Line, verdict: Rejected) -> Iterable[Issue]:
    for error in verdict.errors or (FieldError(pointer="", message=""),):
        name = error.pointer.rpartition("/")[2]
        place = line.page.places.get(name)
        title = place.column.title if place else None
        cell = place.cell(line.row.number) if place else None
        yield Issue(line.page.layout.title, line.row.number, title, cell, _in_chinese(verdict.reason, name), verdict.reason)


def _in_chinese(reason: str, name: str) -> str:
    if reason == NOT_ENTITLED:
        return "登记表里没有本企业在该县的这项服务:请核对县和服务,或请审批局登记"
    if reason == "future":
        return "晚于今天:请在情况发生之后再报" if name == "effective_on" else "晚于现在:请核对日期和时间"
    if reason == PERSONAL_DATA:
        return "像是身份证号或电话号码:请用本企业自己的编号"
    if reason == "malformed":
        return "含有看不见的控制字符:请删去后重新填写"
    if name == "case_source":
        return "不是办件来源的代码:一般留空,或填审批局告知的代码"
    return "内容不符合要求:请对照“填写说明”"


class Everywhere(Registry):
    """A registry by which everybody serves everywhere: for a check without the bureau's registry."""

    def serves(self, company: str, county: str | None, service: str | None) -> bool:
        return True


def in_order(issues: Iterable[Issue]) -> list[Issue]:
    """By page as the template has them, then by row and cell."""
    places = {page.title: place for place, page in enumerate(layout.PAGES)}
    return sorted(issues, key=lambda issue: (places.get(issue.page, 9), issue.row or 0, len(issue.cell or ""), issue.cell or ""))
