"""The golden month's notice end to end on a real PostgreSQL: its four forms, frozen, corrected, restated."""

import io
import random
import zipfile
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import openpyxl
import pytest
import pytest_asyncio
from docx import Document
from docx.oxml.ns import qn
from pydantic import SecretStr

from services.metrics.domain.notice import digest, verified
from services.metrics.handlers import counting, following
from services.metrics.handlers.counting import RawRecord, Unusable
from services.metrics.main import build_api
from services.metrics.settings import Settings
from shared import counties, postgres
from shared.events.progress import Snapshot
from tests import case_events
from tests.conftest import TestDatabase
from tests.notices import DISABLED, GOLDEN

pytestmark = pytest.mark.usefixtures("asked_anew")

READER = {"Authorization": "Bearer reader"}
OPERATOR = {"Authorization": "Bearer operator"}
ITEM = {"item": DISABLED.code}
FIRST = datetime(2024, 3, 25, 1, tzinfo=UTC)
NOW = datetime(2024, 10, 8, 3, tzinfo=UTC)
MONTH_ENDS = ("2024-09-30", "2024-08-31", "2024-07-31")


def told(case_no: str, number: int, recorded_at: datetime, **data: Any) -> dict[str, Any]:
    content = {"case_no": case_no, "recorded_at": case_events.text(recorded_at), **data}
    kind = {"type": "cn.onething.case.step.v1", "source": case_events.SOURCE, "subject": case_no}
    return {**kind, "id": f"{case_no}-{number}", "data": content}


def golden_month() -> list[dict[str, Any]]:
    """Each case applied for and accepted on a day of the season, those that are completed by the end of September."""
    draw = random.Random(9)
    events = []
    for county, (handled, completed) in GOLDEN.items():
        for number in range(handled):
            case_no, at = f"{county}-{number}", FIRST + timedelta(days=draw.randrange(180))
            events.append(told(case_no, 1, at, step="applied", occurred_at=case_events.text(at), county=county, **ITEM))
            steps = ("accepted", "completed") if number < completed else ("accepted",)
            for place, step in enumerate(steps, start=2):
                at += timedelta(days=1)
                events.append(told(case_no, place, at, step=step, occurred_at=case_events.text(at)))
    return events


def hall_snapshots() -> list[Snapshot]:
    """Water companies everywhere; 涞源县 and 白沟新城 have nobody in the hall."""
    made = []
    for number, county in enumerate(counties.ROSTER):
        subject = f"{county.code}/water-{number}/water"
        of = {"county": county.code, "company": f"water-{number}", "service": "water"}
        registry = {**of, "name": f"{county.name}供水公司", "periods": [{"valid_from": "2023-01-01"}]}
        level = "none" if county.name in ("涞源县", "白沟新城") else "own_window"
        handles = [] if level == "none" else ["joint_installation", "public_service"]
        presence = {**of, "periods": [{"effective_on": "2024-01-01", "level": level, "handles": handles}]}
        made += [Snapshot(kind=kind, subject=subject, version=1, state=state) for kind, state in
                 (("registry", registry), ("presence", presence))]  # fmt: skip
    return made


def installation(version: int, **ended: str) -> Snapshot:
    """One of 竞秀区's water company, overdue since the middle of September unless it ended."""
    limit = {"step": "surveyed", "since": "2024-09-10", "working_days": 3, "due_on": "2024-09-13", "due_soon_from": "2024-09-12"}
    steps = {"accepted": "2024-09-10T02:00:00Z", **ended}
    state = {
        "installation_no": "i1", "company": "water-0", "county": "130602", "service": "water", "data_version": 1,
        "step": list(steps)[-1], "steps": steps, "limits": [limit | ({"ended_on": "2024-09-20"} if ended else {})],
    }  # fmt: skip
    return Snapshot(kind="installation", subject="water-0/i1", version=version, state=state)


def window(number: int, handled: int) -> Snapshot:
    """What the window of the roster's unit of that number reported on September."""
    county = counties.ROSTER[number].code
    subject = f"{county}/water-{number}/water/2024-09"
    state = {
        "county": county,
        "company": f"water-{number}",
        "service": "water",
        "month": "2024-09",
        "public_service_handled": handled,
    }
    return Snapshot(kind="window", subject=subject, version=1, state=state)


class Desk:
    """The api, and what reaches the database beside it."""

    def __init__(self, client: httpx.AsyncClient, pool: postgres.Pool) -> None:
        self.client = client
        self._pool = pool
        self._counted = 0

    async def count(self, events: Sequence[dict[str, Any]]) -> None:
        async def no_parking(unusable: Sequence[Unusable]) -> None:
            raise AssertionError(f"nothing here should be parked: {unusable}")

        raw = [RawRecord(self._counted + n, case_events.encoded(event)) for n, event in enumerate(events)]
        await counting.count_batch(self._pool, no_parking, "t", 0, self._counted, raw)
        self._counted += len(events)
        await counting.fold_counters(self._pool)

    async def keep(self, *kept: Snapshot) -> None:
        async with self._pool.acquire() as db, db.transaction():
            await following.keep(db, {(one.kind, one.subject): (one, following.counts_as(one)) for one in kept})

    async def notice(self, month: str = "2024-09", **asked: Any) -> httpx.Response:
        return await self.client.get(f"/v1/notices/{month}", params={**ITEM, **asked})

    async def freeze(self, month: str = "2024-09", headers: dict[str, str] = OPERATOR, **asked: Any) -> httpx.Response:
        return await self.client.post(f"/v1/notices/{month}", params={**ITEM, **asked}, headers=headers)

    async def counts(self, as_of: str) -> dict[str, dict[str, int]]:
        rows = (await self.client.get("/v1/counts", params={**ITEM, "as_of": as_of})).json()["rows"]
        return {row["county"]: row for row in rows}


@pytest_asyncio.fixture
async def desk(database: TestDatabase) -> AsyncIterator[Desk]:
    dsn = database.dsn("metrics")
    settings = Settings(postgres_dsn=SecretStr(dsn), reader_token=SecretStr("reader"), operator_token=SecretStr("operator"))
    app = build_api(settings, clock=lambda: NOW)
    async with await postgres.open_pool(dsn, application="test", size=2) as pool, app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://metrics", headers=READER) as client:
            opened = Desk(client, pool)
            await opened.count(golden_month())
            await opened.keep(*hall_snapshots())
            yield opened


def text_of(document: bytes) -> str:
    return "\n".join(paragraph.text for paragraph in Document(io.BytesIO(document)).paragraphs)


def half_width(text: str) -> str:
    return text.translate({0xFF0C: ",", 0xFF1B: ";", 0xFF1A: ":", 0xFF08: "(", 0xFF09: ")"})


async def test_the_golden_month_in_four_forms(desk: Desk) -> None:
    notice = (await desk.notice()).json()
    ranking = (await desk.client.get("/v1/ranking", params={**ITEM, "as_of": "2024-09-30"})).json()
    halls = (await desk.client.get("/v1/co-location", params={"as_of": "2024-09-30"})).json()
    counts, before, before_that = [await desk.counts(day) for day in MONTH_ENDS]

    assert notice["paragraph"].startswith(
        "截至9月底,全市共办理“残疾人服务”一件事615件,办理量最高的是满城区(163件,占全市的26.5%),其次是定兴县(94件)、徐水区(75件)、"
        "曲阳县(72件)、顺平县(50件);办件量不足10件的有12个县(市、区):唐县、"
    )
    assert "4个县(市、区)办件为零。" in notice["paragraph"]
    assert "应进驻22家次,实际进驻20家次,进驻率90.9%" in notice["paragraph"]
    assert "涞源县、白沟新城2个县(市、区)没有一家企业进驻。" in notice["paragraph"]
    assert (notice["total"], notice["low"]["counties"], notice["zero"]["counties"]) == (615, ranking["low"], ranking["zero"])
    for row, ranked in zip(notice["rows"], ranking["rows"], strict=True):
        county = row["county"]
        assert (row["rank"], county, row["count"]) == (ranked["rank"], ranked["county"], ranked["count"])
        assert row["share"] == pytest.approx(ranked["share"], abs=1e-6)
        assert (row["applied"], row["accepted"], row["completed"]) == tuple(
            counts[county][measure] for measure in ("applied", "accepted", "completed")
        )
        assert row["added"] == counts[county]["handled"] - before[county]["handled"]
        assert row["added_before"] == before[county]["handled"] - before_that[county]["handled"]
    assert notice["totals"]["completed"] == sum(completed for _, completed in GOLDEN.values())
    assert [hall["co_located"] for hall in notice["co_location"]["counties"]] == [h["co_located"] for h in halls["counties"]]

    text = (await desk.notice(format="md")).text
    assert "| 1 | 满城区 |  | 163 | 26.5% | 149 |" in text

    answer = await desk.notice(format="docx")
    assert "filename*=UTF-8''%E5%85%B3%E4%BA%8E2024" in answer.headers["content-disposition"]
    assert answer.content == (await desk.notice(format="docx")).content
    document = Document(io.BytesIO(answer.content))
    written = text_of(answer.content)
    assert "〔\u3000\u3000〕" in written, "the place of the document's number"
    for section in notice["sections"]:
        assert section["text"] in half_width(written)
    assert "保定市行政审批局" in written
    counted, hall_table = document.tables
    cells = [[cell.text for cell in row.cells] for row in counted.rows]
    assert [half_width(cell) for cell in cells[0]][:5] == ["位次", "县(市、区)", "试点", "办件量", "占比"]
    for line, row in zip(cells[1:-1], notice["rows"], strict=True):
        figures = [row[name] for name in ("added", "added_before", "applied", "accepted", "completed")]
        assert line == [
            str(row["rank"]), row["name"], "是" if row["pilot"] else "", str(row["count"]), f"{row['share']:.1%}",
            *map(str, figures),
        ]  # fmt: skip
    assert cells[-1][1:4] == ["全市", "", "615"]
    assert [row.cells[2].text for row in hall_table.rows][1:-1] == [str(h["co_located"]) for h in halls["counties"]]
    fonts = {one.get(qn("w:eastAsia")) for one in document.element.body.iter(qn("w:rFonts"))}
    assert {"方正小标宋简体", "仿宋_GB2312", "黑体"} <= fonts
    with zipfile.ZipFile(io.BytesIO(answer.content)) as parts:
        chart = parts.read("word/charts/chart1.xml").decode()
        workbook = openpyxl.load_workbook(io.BytesIO(parts.read("word/embeddings/Microsoft_Excel_Sheet1.xlsx")))
    assert "<c:v>163</c:v>" in chart
    assert [cell.value for cell in workbook["办件量"]["B"]][1:] == [row["count"] for row in notice["rows"]]

    answer = await desk.notice(format="xlsx")
    assert answer.content == (await desk.notice(format="xlsx")).content
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    assert book.sheetnames == ["通报正文", "办件情况", "办件量图", "企业进驻", "进驻企业"]
    sheet = book["办件情况"]
    assert sheet.freeze_panes == "A3"
    assert sheet.print_title_rows == "$2:$2"
    for values, row in zip(sheet.iter_rows(min_row=3, max_row=24, values_only=True), notice["rows"], strict=True):
        names = ("rank", "name", "count", "share", "added", "added_before", "rank_before", "applied", "accepted", "completed")
        assert [*values[:2], *values[3:]] == [row[name] for name in names]
    assert [cell.value for cell in sheet[25]][1:4] == ["全市", None, 615]
    assert len(book["办件量图"]._charts) == 1  # type: ignore[attr-defined]
    assert [row[2] for row in book["企业进驻"].iter_rows(min_row=3, max_row=24, values_only=True)] == [
        hall["co_located"] for hall in halls["counties"]
    ]
    assert book["进驻企业"]["B3"].value == "竞秀区供水公司"


async def test_windows_and_installations_are_told_as_their_own_routes_tell_them(desk: Desk) -> None:
    assert {"窗口运行情况", "联合报装情况"}.isdisjoint(one["heading"] for one in (await desk.notice()).json()["sections"])
    await desk.keep(installation(1), window(1, 0), window(2, 7))
    notice = (await desk.notice()).json()
    told = {one["heading"]: one["text"] for one in notice["sections"]}
    asked = {"from": "2024-09-01", "as_of": "2024-09-30"}
    idle = (await desk.client.get("/v1/idle-windows", params=asked)).json()["rows"]
    assert [(row["county"], row["company"], row["reported"]) for row in notice["idle_windows"]] == [
        (row["county"], row["company"], row["reported"]) for row in idle
    ]
    # 竞秀区 has moved an installation and 满城区 reports cases; 莲池区 reports none, the other seventeen nothing.
    assert told["窗口运行情况"] == (
        "9月“进厅不办事”的窗口有1个:莲池区1个;另有17个窗口没有报装环节,也没有报送公用服务办理数,尚不能判定。"
    )
    assert told["联合报装情况"] == "截至9月底,全市联合报装受理1件,接通0件,在办1件,其中超期1件:竞秀区1件。"
    assert (await desk.freeze()).status_code == 201
    await desk.keep(installation(2, connected="2024-09-20T02:00:00Z"))
    changes = (await desk.notice()).json()["restatement"]["changes"]
    assert [(row["measure_name"], row["frozen"], row["now"]) for row in changes if "联合报装" in row["measure_name"]][:3] == [
        ("联合报装供水接通", 0, 1), ("联合报装供水在办", 1, 0), ("联合报装供水超期", 1, 0),
    ]  # fmt: skip
    book = openpyxl.load_workbook(io.BytesIO((await desk.notice(format="xlsx")).content))
    assert book["进厅不办事"].max_row == 18 + 2
    assert [cell.value for cell in book["联合报装"][3]][:8] == ["竞秀区", "供水", 1, 0, 0, 1, 0, 1]


async def test_frozen_corrected_restated(desk: Desk, database: TestDatabase) -> None:
    assert (await desk.client.get("/v1/notices")).json() == {"notices": []}
    live = (await desk.notice()).json()
    assert (live["frozen"], live["restatement"]) == (None, None)
    made = await desk.freeze(by="王科长")
    assert made.status_code == 201, made.text
    frozen = made.json()["frozen"]
    assert frozen == {"sha256": digest(live), "at": "2024-10-08T03:00:00Z", "on": "2024-10-08", "by": "王科长"}
    again = await desk.freeze(by="another")
    assert (again.status_code, again.json()) == (200, made.json())
    assert (await desk.client.get("/v1/notices")).json()["notices"] == [
        {"month": "2024-09", "item": DISABLED.code, "sha256": frozen["sha256"], "frozen_at": frozen["at"], "frozen_by": "王科长"}
    ]
    unchanged = (await desk.notice()).json()
    assert unchanged == made.json()
    assert verified(unchanged)

    # Corrections of every kind, drawn: moved to another county, deleted, a wrong day put right, completed late, a new case.
    draw = random.Random(21)
    then = [await desk.counts(day) for day in MONTH_ENDS]
    cases = draw.sample([f"{county}-{n}" for county, (handled, _) in GOLDEN.items() for n in range(handled)], 40)
    corrections = []
    for number, case_no in enumerate(cases):
        at = NOW - timedelta(hours=number)
        match number % 4:
            case 0:
                change = {"step": "accepted", "occurred_at": "2024-08-30T02:00:00Z", "county": draw.choice(counties.ROSTER).code}
            case 1:
                change = {"operation": "delete"}
            case 2:
                change = {"step": "applied", "occurred_at": f"2024-0{draw.randint(4, 9)}-11T02:00:00Z"}
            case _:
                change = {"step": "completed", "occurred_at": "2024-09-29T02:00:00Z"}
        corrections.append(told(case_no, 9, at, **change))
    corrections.append(told("late", 1, NOW, step="applied", occurred_at="2024-09-30T02:00:00Z", county="130672", **ITEM))
    await desk.count(corrections)
    of = {"county": "130602", "company": "water-0", "service": "water"}
    gone = {**of, "periods": [{"effective_on": "2024-09-15", "level": "none", "handles": []}]}
    await desk.keep(Snapshot(kind="presence", subject="130602/water-0/water", version=2, state=gone))
    now = [await desk.counts(day) for day in MONTH_ENDS]

    def figures(by_day: list[dict[str, dict[str, int]]], county: str) -> dict[str, int]:
        end, before, before_that = (by_day[n][county] for n in range(3))
        cumulative = {measure: end[measure] for measure in ("handled", "applied", "accepted", "completed")}
        added_before = before["handled"] - before_that["handled"]
        return {**cumulative, "added": end["handled"] - before["handled"], "added_before": added_before}

    expected: dict[tuple[str, str], tuple[Any, Any]] = {
        (county, measure): (figures(then, county)[measure], value)
        for county in counties.BY_CODE
        for measure, value in figures(now, county).items()
        if figures(then, county)[measure] != value
    }
    expected |= {
        ("130602", "co_located"): (1, 0), ("130602", "none_at_all"): (False, True),
        ("130602", "presence:water-0/water"): ("co_located", "none"),
    }  # fmt: skip
    assert len(expected) > 30
    kept = (await desk.notice()).json()
    restated = kept.pop("restatement")
    assert {**kept, "restatement": None} == made.json(), "what was frozen stays as it was, to the byte of its hash"
    assert verified(kept)
    assert {(row["county"], row["measure"]): (row["frozen"], row["now"]) for row in restated["changes"]} == expected
    present = (await desk.notice(live=True)).json()
    assert (present["frozen"], present["restatement"]) == (None, None)
    assert restated["now"] == {name: present[name] for name in ("total", "low", "zero", "paragraph")}
    city = {row["measure"]: (row["frozen"], row["now"]) for row in restated["total"]}
    assert city["handled"] == (615, present["total"])

    lines = len(restated["total"]) + len(restated["changes"])
    document = Document(io.BytesIO((await desk.notice(format="docx")).content))
    assert len(document.tables[-1].rows) == lines + 1
    assert frozen["sha256"] in "".join(paragraph.text for paragraph in document.paragraphs)
    book = openpyxl.load_workbook(io.BytesIO((await desk.notice(format="xlsx")).content))
    assert book["冻结后的更正"].max_row == lines + 2
    assert f"| 全市 | 办件量 | 615 | {present['total']} |" in (await desk.notice(format="md")).text

    conflict = await desk.freeze()
    assert conflict.status_code == 409
    problem = conflict.json()
    assert (problem["type"], problem["frozen"]) == ("urn:onething:problem:already-frozen", frozen)
    assert problem["restatement"]["changes"] == restated["changes"]

    connection = await asyncpg.connect(database.admin_dsn)
    try:
        rows = await connection.fetch("select role, who, action, subject, detail::json->>'sha256' as sha256 from metrics.audit")
        assert [tuple(row) for row in rows] == [
            ("operator", "王科长", "notice.freeze", "2024-09/disabled-service", frozen["sha256"])
        ]
    finally:
        await connection.close()
    service = await asyncpg.connect(database.dsn("metrics"))
    try:
        for statement in ("update notices set frozen_by = ''", "delete from notices", "update audit set who = ''"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(statement)
    finally:
        await service.close()


async def test_parameters_and_who_may_freeze(desk: Desk) -> None:
    assert (await desk.freeze("2024-10")).json()["errors"] == [
        {"pointer": "/path/month", "message": "this month has not ended: freeze it from 2024-11-01 on"}
    ]
    running = (await desk.notice("2024-10")).json()
    assert (running["as_of"], running["paragraph"][:7]) == ("2024-10-08", "截至10月8日")
    for headers, status in ((READER, 403), ({"Authorization": ""}, 401)):
        assert (await desk.freeze(headers=headers)).status_code == status
    for path, pointer in (
        ("/v1/notices/2024-13?item=disabled-service", "/path/month"),
        ("/v1/notices/2024-11?item=disabled-service", "/path/month"),
        ("/v1/notices/0001-01?item=disabled-service", "/path/month"),
        ("/v1/notices/2024-09?item=nothing", "/query/item"),
        ("/v1/notices/2024-09", "/query/item"),
        ("/v1/notices/2024-09?item=disabled-service&format=pdf", "/query/format"),
        ("/v1/notices/2024-09?item=disabled-service&top=0", "/query/top"),
        ("/v1/notices/2024-09?item=disabled-service&ties=none", "/query/ties"),
    ):
        for method in ("GET", "POST") if "format" not in path else ("GET",):
            answer = await desk.client.request(method, path, headers=OPERATOR)
            assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (422, [pointer]), path
    made = await desk.freeze(low=10, low_op="le", top=3)
    assert "10件以下" in made.json()["paragraph"]
    assert (await desk.notice()).json()["parameters"] == {"low": 10, "low_op": "le", "top": 3, "ties": "skip"}
    assert (await desk.notice(top=3)).status_code == 200
    other = await desk.notice(low=5)
    assert (other.status_code, other.json()["type"]) == (409, "urn:onething:problem:frozen-otherwise")
    assert other.json()["parameters"]["low"] == 10
    assert (await desk.notice(low=5, live=True)).json()["parameters"]["low"] == 5
    assert (await desk.freeze()).status_code == 409, "with other parameters it is another notice"
    assert (await desk.freeze(low_op="le", top=3)).status_code == 200
