"""Sheets: every way in which people fill them in, and every file that is refused, with what is said of it."""

# ruff: noqa: DTZ001 -- a sheet's times have no zone: they are the wall clock's

import random
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook
from openpyxl.utils import datetime as openpyxl_datetime
from openpyxl.utils.datetime import CALENDAR_MAC_1904, WINDOWS_EPOCH
from openpyxl.xml.constants import SHEET_MAIN_NS as MAIN

from services.utilities.domain.registry import Pair, Registry
from services.utilities.domain.sheets import layout
from services.utilities.domain.sheets.archive import SheetRefused
from services.utilities.domain.sheets.checking import Draft, Everywhere, Issue, draft, judge_lines
from services.utilities.domain.sheets.marking import marked
from services.utilities.domain.sheets.reading import read
from services.utilities.domain.sheets.template import Rows, template
from services.utilities.domain.sheets.template import filled as continued
from services.utilities.domain.sheets.values import read_value
from services.utilities.domain.sheets.workbook import Offer
from shared.clock import SHANGHAI
from shared.counties import ROSTER
from tests.sheets import HALL, MONTH, STEP, filled, saved

to_excel: Callable[..., float] = openpyxl_datetime.to_excel  # which has no annotations
DATA = Path(__file__).parents[1] / "data"
NOW = datetime(2024, 10, 8, 1, tzinfo=UTC)
REGISTRY = Registry(frozenset({Pair("130607", "gas-1", "gas"), Pair("130608", "gas-1", "gas")}))


def drafted(content: bytes, company: str = "gas-1") -> Draft:
    return draft(read(content), company)


def data_of(content: bytes) -> list[dict[str, Any]]:
    """What each row says, of a sheet without errors."""
    found = drafted(content)
    assert found.issues == []
    return [dict(line.data) for line in found.lines]


def wrong(content: bytes, company: str = "gas-1") -> list[tuple[str | None, str]]:
    """Cell and message of each error."""
    return [(issue.cell, issue.message) for issue in drafted(content, company).issues]


def judged(content: bytes) -> list[tuple[str | None, str, str]]:
    """Cell, reason and message of what the rules refuse."""
    found = judge_lines(drafted(content).lines, lambda _: NOW, "gas-1", REGISTRY, NOW)
    return [(issue.cell, issue.reason, issue.message) for issue in found.issues]


def test_each_page_becomes_the_event_that_a_system_would_push() -> None:
    content = filled(
        [STEP | {"用户类别": "居民", "联合报装办件号": "C1", "说明": "一 二"}], [HALL], [MONTH | {"公用服务办件数": "0"}]
    )
    step, hall, month = drafted(content).lines
    assert step.event(NOW) == {
        "specversion": "1.0",
        "id": step.event_id,
        "source": "urn:onething:company:gas-1",
        "type": "cn.onething.installation.step.v1",
        "subject": "GS-1",
        "data": {
            "installation_no": "GS-1", "case_no": "C1", "county": "130607", "service": "gas", "company": "gas-1",
            "step": "accepted", "occurred_at": "2024-04-30T16:00:00Z", "customer_kind": "resident", "reason": "一 二",
            "operation": "upsert", "recorded_at": "2024-10-08T01:00:00Z",
        },
    }  # fmt: skip
    assert (hall.type, hall.subject) == ("cn.onething.presence.v1", "130607/gas-1/gas")
    assert hall.data["effective_on"] == "2024-03-01"
    assert tuple(hall.data["handles"]) == ("joint_installation", "public_service")
    assert (month.type, month.subject) == ("cn.onething.window.v1", "130607/gas-1/gas/2024-05")
    assert month.data["public_service_handled"] == 0
    assert len(judge_lines([step, hall, month], lambda _: NOW, "gas-1", REGISTRY, NOW).accepted) == 3


@pytest.mark.parametrize(
    "written",
    [
        "2024-05-01 09:30", "2024/5/1 9:30", "2024.05.01 09:30:00", "2024年5月1日 9时30分", "2024-05-01T09:30:00",
        "2024-05-01 09:30 ", " 2024-05-01 上午9:30", "2024-05-01 9点30", datetime(2024, 5, 1, 9, 30),
        to_excel(datetime(2024, 5, 1, 9, 30)), str(to_excel(datetime(2024, 5, 1, 9, 30))),
    ],
)  # fmt: skip
def test_a_time_is_read_however_it_is_written(written: object) -> None:
    (data,) = data_of(filled([STEP | {"发生时间": written}]))
    assert data["occurred_at"] == "2024-05-01T01:30:00Z"


@pytest.mark.parametrize(
    "written", ["2024-5-1", "20240501", 20240501, "2024年05月01日", date(2024, 5, 1), datetime(2024, 5, 1), 45413, "45413"]
)
def test_a_day_is_read_however_it_is_written(written: object) -> None:
    content = filled([STEP | {"发生时间": written}], [HALL | {"生效日期": written}], [MONTH | {"月份": written}])
    step, hall, month = data_of(content)
    assert (step["occurred_at"], hall["effective_on"], month["month"]) == ("2024-04-30T16:00:00Z", "2024-05-01", "2024-05")


@pytest.mark.parametrize("written", ["2024-05", "2024年5月", "202405", 202405, "2024/5", "2024.05"])
def test_a_month_is_read_however_it_is_written(written: object) -> None:
    (month,) = data_of(filled(months=[MONTH | {"月份": written}]))
    assert month["month"] == "2024-05"


@given(moment=st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(lambda m: m.replace(microsecond=0)))
def test_every_second_survives_the_serial_numbers_of_both_calendars(moment: datetime) -> None:
    column = layout.BY_KIND["installation"].column("occurred_at")
    for epoch in (WINDOWS_EPOCH, CALENDAR_MAC_1904):
        told = read_value(column, to_excel(moment, epoch), epoch)
        assert datetime.fromisoformat(told) == moment.replace(tzinfo=SHANGHAI)


def test_a_workbook_of_the_1904_calendar() -> None:
    def to_1904(book: Workbook) -> None:
        book.epoch = CALENDAR_MAC_1904

    content = filled([STEP | {"发生时间": datetime(2024, 5, 1, 9, 30)}, STEP | {"环节": "接通", "发生时间": 43951}], mend=to_1904)
    first, second = data_of(content)
    assert (first["occurred_at"], second["occurred_at"]) == ("2024-05-01T01:30:00Z", "2024-04-30T16:00:00Z")
    copy = load_workbook(BytesIO(marked(read(content), [])))["报装进度"]
    assert [copy["G2"].value, copy["G3"].value] == [datetime(2024, 5, 1, 9, 30), datetime(2024, 5, 1)]


def test_full_width_blanks_and_numbers_are_read_as_meant() -> None:
    row = {
        "报装编号": " GS-0015​ ", "县(市、区)": " 保定市满城区 ", "服务": "天然气", "环节": "送电 ",
        "发生时间": "2024-05-01", "操作": " 修改",
    }  # fmt: skip
    (data,) = data_of(filled([row]))
    assert (data["installation_no"], data["county"], data["service"], data["step"]) == ("GS-0015", "130607", "gas", "connected")
    for county in ("130621", "130607001", 130607, "满城区"):
        assert data_of(filled([STEP | {"县(市、区)": county}]))[0]["county"] == "130607"
    assert data_of(filled([STEP | {"报装编号": 20240015}]))[0]["installation_no"] == "20240015"
    assert data_of(filled(months=[MONTH | {"公用服务办件数": "1,234件"}]))[0]["public_service_handled"] == 1234


def test_rows_columns_and_pages_may_be_moved() -> None:
    book = Workbook()
    del book[book.sheetnames[0]]
    notes = book.create_sheet("备忘")
    notes["A1"] = "随便写写"
    page = book.create_sheet(" 报装进度 ")
    page.append(["××公司2024年5月报表"])
    page.append([])
    page.append(["序号", "环节", "县(市、区)*", "服务 *", "发生时间", "报装\n编号", "经办科室"])
    page.append([1, "受理", "满城区", "燃气", "2024-05-01", "GS-1", "一科"])
    page.append([])
    page.append([None, " ", None, "", None, None, "三科"])
    page.append([2, "接通", "满城区", "燃气", "2024-05-03", "GS-1", None])
    found = drafted(saved(book))
    assert found.issues == []
    assert [(line.row.number, line.data["step"]) for line in found.lines] == [(4, "accepted"), (7, "connected")]
    assert found.unread == ["工作表“备忘”", "“报装进度”的“序号”列", "“报装进度”的“经办科室”列"]


def test_merged_cells_hold_for_each_of_their_rows() -> None:
    def merge(book: Workbook) -> None:
        page = book["报装进度"]
        for column in "BDE":
            page.merge_cells(f"{column}2:{column}4")

    steps = [STEP, {"环节": "踏勘", "发生时间": "2024-05-02"}, {"环节": "接通", "发生时间": "2024-05-03"}]
    assert [(row["installation_no"], row["county"], row["step"]) for row in data_of(filled(steps, mend=merge))] == [
        ("GS-1", "130607", "accepted"), ("GS-1", "130607", "surveyed"), ("GS-1", "130607", "connected"),
    ]  # fmt: skip


def test_formulas_count_by_their_result_and_without_one_are_named() -> None:
    out = BytesIO()
    book = xlsxwriter.Workbook(out)
    page = book.add_worksheet("报装进度")
    page.write_row(0, 0, ["报装编号", "县(市、区)", "服务", "环节", "发生时间"])
    page.write_row(1, 0, ["GS-1", "满城区", "燃气", "受理"])
    page.write_formula(1, 4, "=DATE(2024,5,1)", None, 45413)
    page.write_row(2, 0, ["GS-2", "满城区", "燃气", "受理", "2024-05-01"])
    page.write_formula(2, 0, "=VLOOKUP(1,A1:B2,3)", None, "#N/A")
    book.close()
    found = drafted(out.getvalue())
    assert [line.data["occurred_at"] for line in found.lines] == ["2024-04-30T16:00:00Z"]
    assert [(issue.cell, issue.message) for issue in found.issues] == [("A3", "单元格是错误值(如 #N/A):请直接填写值")]
    ((cell, message),) = wrong(filled([STEP | {"发生时间": "=TODAY()"}]))
    assert (cell, "公式没有计算结果" in message) == ("G2", True)


@pytest.mark.parametrize(
    ("row", "cell", "says"),
    [
        ({"环节": "粉刷"}, "F2", "请从下拉框选:受理"),
        ({"环节": None}, "F2", "必填"),
        ({"县(市、区)": "定州市"}, "D2", "不归本市管"),
        ({"县(市、区)": "石家庄"}, "D2", "不是本市的县"),
        ({"县(市、区)": "999999"}, "D2", "不是本市的县"),
        ({"服务": "煤"}, "E2", "请从下拉框选:供水"),
        ({"发生时间": "五月一日"}, "G2", "不是日期"),
        ({"发生时间": "2024-02-30"}, "G2", "日历上没有"),
        ({"发生时间": time(9, 30)}, "G2", "没有日期"),
        ({"发生时间": "9:30"}, "G2", "不是日期"),
        ({"发生时间": "1024-05-01"}, "G2", "年份不对"),
        ({"发生时间": 99999999}, "G2", "不是日期"),
        ({"报装编号": "报装〔2024〕1号"}, "B2", "只能用字母"),
        ({"报装编号": 1234567890123456}, "B2", "超过15位"),
        ({"报装编号": "x" * 3000}, "B2", "超过2000字"),
        ({"说明": "长" * 201}, "I2", "不超过200字"),
        ({"操作": "重报"}, "A2", "请从下拉框选"),
        ({"企业编号": "water-1"}, "K2", "不是本企业的编号"),
        ({"操作": "撤回", "环节": "暂停", "发生时间": None}, "G2", "必填"),
        ({"操作": "已报"}, "A2", "“已报”的行有改动"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_at_its_cell(row: dict[str, object], cell: str, says: str) -> None:
    ((at, message),) = wrong(filled([STEP | row]))
    assert (at, says in message) == (cell, True), message


def test_what_is_wrong_on_the_other_pages() -> None:
    assert wrong(filled(halls=[HALL | {"办理业务": None}])) == [("E2", "必填")]
    assert wrong(filled(halls=[HALL | {"进驻形式": "未进驻", "办理业务": None}])) == []
    ((cell, message),) = wrong(filled(halls=[HALL | {"操作": "撤回"}]))
    assert (cell, "请从下拉框选:新增、更正" in message) == ("A2", True)
    assert wrong(filled(months=[MONTH | {"公用服务办件数": -1}])) == [("E2", "请填不小于0的整数")]
    assert wrong(filled(months=[MONTH | {"公用服务办件数": 1.5}])) == [("E2", "请填不小于0的整数")]
    assert wrong(filled(months=[MONTH | {"操作": "撤回", "公用服务办件数": None}])) == []
    ((_, message),) = wrong(filled(months=[MONTH | {"月份": "2024-13"}]))
    assert "没有这个月份" in message


def test_a_row_with_several_mistakes_names_each() -> None:
    assert [cell for cell, _ in wrong(filled([STEP | {"县(市、区)": "无", "服务": "无", "发生时间": None}]))] == ["D2", "E2", "G2"]


def test_withdrawing_and_deleting() -> None:
    retract = {"操作": "撤回", "发生时间": None}
    delete = {"操作": "整件删除", "环节": None, "发生时间": None}
    retracted, deleted = data_of(filled([STEP | retract, STEP | delete]))
    assert (retracted["operation"], retracted["step"]) == ("retract", "accepted")
    assert (deleted["operation"], "step" in deleted) == ("delete", False)
    (month,) = data_of(filled(months=[MONTH | {"操作": "撤回"}]))
    assert (month["operation"], "public_service_handled" in month) == ("retract", False)


def test_the_rules_of_a_push_hold_for_rows_with_words_in_chinese() -> None:
    serves = judged(filled([STEP | {"服务": "供水"}]))
    assert serves == [("D2", "not-entitled", "登记表里没有本企业在该县的这项服务:请核对县和服务,或请审批局登记")]
    assert judged(filled([STEP | {"县(市、区)": "徐水区"}])) == serves
    assert judged(filled([STEP | {"发生时间": "2024-10-09"}])) == [("G2", "future", "晚于现在:请核对日期和时间")]
    assert judged(filled(halls=[HALL | {"生效日期": "2024-10-09"}])) == [("F2", "future", "晚于今天:请在情况发生之后再报")]
    assert judged(filled(months=[MONTH | {"月份": "2024-11"}]))[0][1] == "future"
    assert "一般留空" in judged(filled([STEP | {"办件来源": "省里"}]))[0][2]
    ((_, reason, words),) = judged(filled([STEP | {"报装编号": "13800138000"}]))
    assert (reason, "本企业自己的编号" in words) == ("personal-data", True)


def test_the_same_row_has_one_id_however_it_is_written_and_another_row_another() -> None:
    def ids(*rows: dict[str, object], company: str = "gas-1") -> list[str]:
        return [line.event_id for line in drafted(filled([STEP | row for row in rows]), company).lines]

    same = ids(
        {}, {"操作": "新增"}, {"发生时间": datetime(2024, 5, 1)}, {"县(市、区)": "130621"}, {"企业编号": "gas-1"}, {"说明": " "}
    )
    assert len(set(same)) == 1
    others = ids({}, {"操作": "更正"}, {"说明": "改回"}, {"发生时间": "2024-05-02"}, {"环节": "接通"}) + ids({}, company="gas-2")
    assert len(set(others)) == 6
    assert all(id_.removeprefix("sheet-").isalpha() for id_ in same + others)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_we_write_to_go_on_with_is_read_as_standing(seed: int) -> None:
    rng = random.Random(seed)
    counties = [county.code for county in ROSTER]

    def some(**fields: Any) -> dict[str, Any]:
        return {"county": rng.choice(counties), "service": rng.choice(list(layout.SERVICES.values())), **fields}

    def instant() -> str:
        day = f"20{rng.randint(10, 30)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        return f"{day}T{rng.randint(0, 23):02}:07:{rng.randint(0, 59):02}Z"

    rows: Rows = {
        "installation": [
            some(installation_no=f"A{rng.randint(1, 10**12)}", step=rng.choice(list(layout.STEPS.values())), occurred_at=instant())
            for _ in range(3)
        ],
        "presence": [
            some(level="own_window", handles=list(rng.choice(list(layout.HANDLES.values()))), effective_on=instant()[:10])
        ],
        "window": [some(month=instant()[:7], public_service_handled=rng.randint(0, 10**6))],
    }
    found = drafted(continued(rows, "gas-1"))
    assert (found.issues, found.lines, found.reported) == ([], [], 5)


def test_a_standing_row_that_was_changed_must_say_so() -> None:
    rows: Rows = {"installation": [
        {"installation_no": "A1", "county": "130607", "service": "gas", "step": "accepted", "occurred_at": "2024-05-01T01:00:00Z"}
    ]}  # fmt: skip
    book = load_workbook(BytesIO(continued(rows, "gas-1", Offer({"130607"}, {"gas"}))))
    book["报装进度"]["G2"] = datetime(2024, 5, 2)
    ((cell, message),) = wrong(saved(book))
    assert (cell, "请把操作改为“更正”" in message) == ("A2", True)
    book["报装进度"]["A2"] = "更正"
    (data,) = data_of(saved(book))
    assert (data["occurred_at"], data["operation"]) == ("2024-05-01T16:00:00Z", "upsert")
    assert [book["选项"].cell(1, column).value for column in (1, 2)] == ["满城区", "燃气"]


def test_a_marked_copy_shows_each_wrong_cell_and_mended_is_taken() -> None:
    def as_text(book: Workbook) -> None:
        book["报装进度"]["I5"].data_type = "s"

    rows: list[dict[str, Any]] = [STEP, STEP | {"环节": "粉刷"}, STEP | {"发生时间": None}, STEP | {"环节": "接通", "说明": "=1+1"}]
    content = filled(rows, mend=as_text)
    found = drafted(content)
    issues = [*found.issues, Issue("报装进度", 5, None, None, "整行有误")]
    copy = load_workbook(BytesIO(marked(found.book, issues)))
    page = copy["报装进度"]
    bad = "FFFFC7CE"
    assert [page[cell].fill.fgColor.rgb == bad for cell in ("F2", "F3", "G4", "F5")] == [False, True, True, False]
    assert "请从下拉框选" in page["F3"].comment.text
    assert page["G4"].comment.text == "必填"
    problems = [page.cell(row, page.max_column).value for row in range(1, 6)]
    assert problems[:2] == ["问题", None]
    assert (problems[3], problems[4]) == ("发生时间:必填", "整行有误")
    assert (page["I5"].value, page["I5"].data_type) == ("=1+1", "s")
    listed = [[cell.value for cell in row] for row in copy["错误清单"].iter_rows()]
    assert [row[3] for row in listed] == ["单元格", "F3", "G4", None]
    page["F3"], page["G4"] = "踏勘", "2024-05-04"
    assert len(data_of(saved(copy))) == 4


def _zip(parts: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return out.getvalue()


def _parts(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _with(**changed: bytes) -> bytes:
    """A good sheet with parts added or replaced; ``__`` stands for a slash."""
    parts = _parts(filled([STEP]))
    return _zip(parts | {name.replace("__", "/").replace("_xml", ".xml"): part for name, part in changed.items()})


def _rows(count: int) -> bytes:
    out = BytesIO()
    book = xlsxwriter.Workbook(out, {"constant_memory": True})
    page = book.add_worksheet("报装进度")
    page.write_row(0, 0, ["报装编号", "县(市、区)", "服务", "环节", "发生时间"])
    for number in range(1, count + 1):
        page.write_row(number, 0, [f"GS-{number}", "满城区", "燃气", "受理", "2024-05-01"])
    book.close()
    return out.getvalue()


def _entity_bomb() -> bytes:
    sheet = _parts(filled([STEP]))["xl/worksheets/sheet1.xml"]
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(8)
    )  # fmt: skip
    return sheet.replace(b"<worksheet", bomb + b"]><worksheet", 1)


FOREIGN: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "empty": (lambda: b"", "empty", "空的"),
    "xls": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "not-xlsx", "旧版 .xls"),
    "csv": (lambda: "报装编号,县\nGS-1,满城区\n".encode(), "not-xlsx", "不是 .xlsx 文件"),
    "pdf": (lambda: b"%PDF-1.7 ...", "not-xlsx", "PDF"),
    "zip": (lambda: _zip({"a.txt": b"x"}), "not-xlsx", "压缩包"),
    "ods": (lambda: _zip({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet"}), "not-xlsx", ".ods"),
    "docx": (lambda: _zip({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<x/>"}), "not-xlsx", "不是表格"),
    "xlsb": (lambda: _zip({"[Content_Types].xml": b"", "xl/workbook.bin": b""}), "not-xlsx", ".xlsb"),
    "macros": (lambda: _with(**{"xl__vbaProject.bin": b"x"}), "macros", "不带宏"),
    "xlsm": (
        lambda: _zip({
            name: part.replace(b"spreadsheetml.sheet.main", b"x-macroEnabled.main") if name == "[Content_Types].xml" else part
            for name, part in _parts(filled([STEP])).items()
        }),
        "macros", "不带宏",
    ),
    "another template": (lambda: saved(Workbook()), "other-template", "没有找到名为“报装进度、大厅进驻、窗口办件”"),
    "broken zip": (lambda: filled([STEP])[:3000], "broken", "损坏"),
    "broken xml": (lambda: _with(xl__worksheets__sheet1_xml=b"<worksheet><sheetData>"), "broken", "读不出来"),
    "wrong string": (
        lambda: _zip(_parts(template()) | {"xl/sharedStrings.xml": b'<sst xmlns="%s"/>' % MAIN.encode()}), "broken", "读不出来",
    ),
    "entities": (lambda: _with(xl__worksheets__sheet1_xml=_entity_bomb()), "unsafe", "文档类型"),
    "entities in UTF-16": (
        lambda: _with(xl__worksheets__sheet1_xml=_entity_bomb().decode().replace("UTF-8", "UTF-16").encode("utf-16")),
        "unsafe", "文档类型",
    ),
    "zip bomb": (lambda: _with(xl__worksheets__sheet1_xml=b" " * (30 << 20)), "too-large", "过大"),
    "large styles": (lambda: _with(xl__styles_xml=bytes(random.Random(1).choices(b"<a/>", k=5 << 20))), "too-large", "过大"),
    "many entries": (lambda: _zip({f"a{number}": b"" for number in range(501)}), "too-large", "过大"),
    "large file": (lambda: b"PK" + bytes(5 << 20), "too-large", "5兆"),
    "too many rows": (lambda: _rows(10_001), "too-many-rows", "超过10000行"),
    "100,000 rows": (lambda: _rows(100_000), "too-many-rows", "超过10000行"),
    "strict OOXML": (
        lambda: _with(xl__workbook_xml=b'<workbook xmlns="http://purl.oclc.org/ooxml/spreadsheetml/main"/>'), "not-xlsx", "Strict",
    ),
    "page twice": (
        lambda: filled([STEP], mend=lambda book: setattr(book.create_sheet("x"), "title", "报装进度 ")),
        "doubled-page", "有两个名为",
    ),
    "hidden page": (
        lambda: filled([STEP], mend=lambda book: setattr(book["报装进度"], "sheet_state", "hidden")), "hidden", "被隐藏但有内容",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_no_sheet_of_ours_gets_a_clear_no(name: str) -> None:
    make, reason, says = FOREIGN[name]
    with pytest.raises(SheetRefused) as caught:
        read(make())
    assert (caught.value.reason, says in str(caught.value)) == (reason, True), str(caught.value)


def test_as_many_rows_as_are_promised_are_read() -> None:
    assert len(drafted(_rows(10_000)).lines) == 10_000


def test_a_far_cell_costs_nothing() -> None:
    def far(book: Workbook) -> None:
        book["报装进度"]["XFD1048576"] = "x"

    assert len(data_of(filled([STEP], mend=far))) == 1
    sheet = _parts(filled([STEP]))["xl/worksheets/sheet1.xml"].replace(b'r="2"', b'r="99999999999"', 1)
    assert len(drafted(_with(xl__worksheets__sheet1_xml=sheet)).lines) <= 1


def test_a_page_that_lacks_a_column_or_has_one_twice_is_named() -> None:
    def lack(book: Workbook) -> None:
        book["报装进度"]["F1"] = "步骤"
        book["报装进度"]["H1"] = "服务"

    found = drafted(filled([STEP], mend=lack))
    assert [(issue.row, issue.column, issue.message) for issue in found.issues] == [
        (1, "环节", "缺少“环节”列:请使用模板,不要改列名"),
        (1, "服务", "“服务”列出现了两次:请删去一列"),
    ]
    assert found.lines == []


def test_an_empty_template_says_nothing() -> None:
    found = drafted(template())
    assert (found.rows, found.issues, found.lines, found.unread) == (0, [], [], [])


def test_without_a_registry_everybody_serves_everywhere() -> None:
    lines = drafted(filled([STEP | {"服务": "供水"}])).lines
    assert judge_lines(lines, lambda _: NOW, "gas-1", Everywhere(frozenset()), NOW).issues == ()


@pytest.mark.parametrize("file", sorted(DATA.glob("*.xlsx")), ids=lambda file: file.stem)
def test_files_saved_by_other_programs(file: Path) -> None:
    """See tests/data/README.md for how each was made."""
    found = drafted(file.read_bytes())
    assert found.issues == []
    assert [(line.subject, line.data.get("occurred_at") or line.data.get("effective_on")) for line in found.lines] == [
        ("GS-1", "2024-04-30T16:00:00Z"),
        ("GS-1", "2024-05-03T06:30:00Z"),
        ("130607/gas-1/gas", "2024-03-01"),
    ]
