"""Sheets and the companies' page over real Kafka and PostgreSQL: what is taken, what is refused, what a company sees."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import httpx
import pytest
from openpyxl import load_workbook

from services.utilities.domain.sheets.layout import MEDIA_TYPE
from services.utilities.handlers import page as pages
from services.utilities.main import build_api
from shared.clock import now
from shared.kafka import Topics
from shared.postgres import Pool
from tests.conftest import Credentials, TestDatabase
from tests.sheets import HALL, MONTH, STEP, filled, saved
from tests.utilities_support import events_of, import_registry, pool_of, records_of, running, settings, signed

XLSX = MEDIA_TYPE


@dataclass(frozen=True)
class Edge:
    """The running api of a browser that keeps cookies, and where records go."""

    client: httpx.AsyncClient
    kafka: str
    topics: Topics
    secrets: dict[str, str]
    dsn: str

    async def send(
        self, content: bytes, company: str = "gas-1", query: str = "", signer: str | None = None, **headers: str
    ) -> httpx.Response:
        proof = signed(self.secrets[signer or company], content, XLSX) | headers
        return await self.client.post(f"/v1/companies/{company}/sheets{query}", content=content, headers=proof)

    async def published(self) -> list[dict[str, Any]]:
        return events_of(await records_of(self.kafka, self.topics.utility_events))

    async def link(self, company: str = "gas-1") -> str:
        async with pool_of(self.dsn) as pool:
            return (await pages.make_link(pool, company, now()))[0]

    async def log_in(self, company: str = "gas-1") -> str:
        """Logs in as a browser would; gives the forms' token."""
        response = await self.client.post(
            "/login", data={"token": await self.link(company)}, headers={"origin": "http://utilities"}
        )
        assert response.status_code == 303, response.text
        return form_token(await self.client.get("/"))

    async def upload(self, content: bytes, form: str, **fields: str) -> httpx.Response:
        files = {"sheet": ("报送表.xlsx", content, XLSX)}
        return await self.client.post("/sheet", data={"form": form, **fields}, files=files)


def form_token(page: httpx.Response) -> str:
    found = re.search(r'name="form" value="([0-9a-f]+)"', page.text)
    assert found is not None, page.text
    return found[1]


@pytest.fixture
async def edge(kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials) -> AsyncIterator[Edge]:
    dsn = database.dsn("utilities")
    await import_registry(dsn)
    app = build_api(settings(kafka, topics.prefix, dsn, credentials.companies_file))
    async with running(app) as client:
        yield Edge(client, kafka, topics, credentials.companies, dsn)


async def test_the_template_is_there_for_everybody(edge: Edge) -> None:
    response = await edge.client.get("/v1/sheets/template.xlsx")
    assert (response.status_code, response.headers["content-type"]) == (200, XLSX)
    assert load_workbook(BytesIO(response.content)).sheetnames == ["报装进度", "大厅进驻", "窗口办件", "填写说明", "选项"]


async def test_every_row_valid_is_one_event_a_row_and_the_same_sheet_again_changes_nothing(edge: Edge) -> None:
    content = filled([STEP, STEP | {"环节": "接通", "发生时间": "2024-05-03"}], [HALL], [MONTH])
    first = await edge.send(content)
    assert first.status_code == 202, first.text
    told = first.json()
    assert (told["accepted"], told["repeated"], told["rejected"], told["errors"]) == (4, 0, 0, [])
    assert told["receipt"].count(".") == 2
    events = await edge.published()
    assert sorted(event["type"].split(".")[2] for event in events) == ["installation", "installation", "presence", "window"]
    again = await edge.send(filled([STEP | {"环节": "接通", "发生时间": "2024/5/3"}, STEP], [HALL], [MONTH]))
    assert (again.json()["accepted"], again.json()["repeated"], again.json()["notes"]) == (4, 4, [])
    both = await edge.published()
    key = lambda event: event["id"]  # noqa: E731
    assert sorted(both, key=key) == sorted([*events, *events], key=key)


async def test_a_row_wrong_takes_nothing_and_partial_takes_the_others(edge: Edge) -> None:
    content = filled([STEP, STEP | {"环节": "粉刷"}, STEP | {"服务": "供水", "报装编号": "GS-2"}])
    refused = await edge.send(content)
    told = refused.json()
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert [(error["sheet"], error["row"], error["column"], error["cell"], error["reason"]) for error in told["errors"]] == [
        ("报装进度", 3, "环节", "F3", "invalid"),
        ("报装进度", 4, "县(市、区)", "D4", "not-entitled"),
    ]
    assert told["errors"][0]["pointer"] == "/报装进度/F3"
    assert await edge.published() == []
    for response in (await edge.send(content, query="?return=sheet"), await edge.send(content, accept=XLSX)):
        assert (response.status_code, response.headers["content-type"]) == (422, XLSX)
        assert load_workbook(BytesIO(response.content))["报装进度"]["F3"].comment is not None
    partial = await edge.send(content, query="?partial=true")
    assert (partial.status_code, partial.json()["accepted"], partial.json()["rejected"]) == (202, 1, 2)
    assert [event["subject"] for event in await edge.published()] == ["GS-1"]


async def test_a_correction_sent_later_wins_also_when_the_first_sheet_comes_again(edge: Edge) -> None:
    wrong, right = [STEP], [STEP | {"发生时间": "2024-05-02"}]
    for rows in (wrong, right, wrong):
        response = await edge.send(filled(rows))
        assert response.status_code == 202
    (note,) = response.json()["notes"]
    assert (note["row"], note["reason"], "后来又有更正" in note["message"]) == (2, "superseded", True)
    events = sorted(await edge.published(), key=lambda event: event["data"]["recorded_at"])
    assert [event["data"]["occurred_at"][:10] for event in events] == ["2024-04-30", "2024-04-30", "2024-05-01"]
    back = await edge.send(filled([STEP | {"操作": "更正", "说明": "原来是对的"}]))
    assert (back.json()["repeated"], back.json()["notes"]) == (0, [])
    newest = max(await edge.published(), key=lambda event: event["data"]["recorded_at"])
    assert newest["data"]["occurred_at"][:10] == "2024-04-30"
    cumulative = await edge.send(filled([STEP, STEP | {"发生时间": "2024-05-02"}, STEP | {"操作": "更正", "说明": "原来是对的"}]))
    assert (cumulative.json()["repeated"], cumulative.json()["notes"]) == (3, [])


async def test_within_a_sheet_the_later_row_wins(edge: Edge) -> None:
    await edge.send(filled([STEP, STEP | {"操作": "更正", "发生时间": "2024-05-02"}]))
    first, second = sorted(await edge.published(), key=lambda event: event["data"]["recorded_at"])
    assert first["data"]["recorded_at"] < second["data"]["recorded_at"]
    assert second["data"]["occurred_at"].startswith("2024-05-01")


async def test_who_may_send_a_sheet(edge: Edge) -> None:
    content = filled([STEP])
    nobody = await edge.client.post(
        "/v1/companies/nobody/sheets", content=content, headers=signed(edge.secrets["gas-1"], content, XLSX)
    )
    others = await edge.send(content, "water-1", signer="gas-1")
    altered = await edge.client.post(
        "/v1/companies/gas-1/sheets", content=content + b" ", headers=signed(edge.secrets["gas-1"], content, XLSX)
    )
    for response in (nobody, others, altered):
        assert (response.status_code, response.json()["type"]) == (401, "urn:onething:problem:signature")
    for row in (STEP | {"服务": "供水"}, STEP | {"县(市、区)": "徐水区"}, STEP | {"企业编号": "water-1"}):
        response = await edge.send(filled([row]))
        assert (response.status_code, response.json()["type"]) == (422, "urn:onething:problem:not-entitled")
    assert (await edge.send(filled([STEP]), "water-1")).status_code == 422
    assert (await edge.send(filled([STEP | {"服务": "供水"}]), "water-1")).status_code == 202


async def test_what_is_no_sheet_is_said_to_be_none(edge: Edge) -> None:
    for content, status, reason in (
        (b"%PDF-1.7", 400, "not-xlsx"),
        (b"", 400, "empty"),
        (filled(), 422, "empty"),
        (b"PK" + bytes(5 * 1024 * 1024 - 10), 400, "broken"),
        (b"PK" + bytes(5 * 1024 * 1024), 413, "too-large"),
    ):
        response = await edge.send(content)
        assert (response.status_code, response.json()["type"]) == (status, f"urn:onething:problem:{reason}")
    csv = await edge.send(b"a,b", **{"content-type": "text/csv"})
    assert csv.status_code == 415
    assert await edge.published() == []


async def test_five_thousand_rows_are_checked_and_taken(edge: Edge) -> None:
    rows = [
        STEP
        | {
            "报装编号": f"GS-{n}",
            "环节": ("受理", "踏勘", "接通")[n % 3],
            "发生时间": f"2024-05-{1 + n % 28:02} 09:00",
            "说明": "正常",
        }
        for n in range(5000)
    ]
    content = filled(rows)
    response = await edge.send(content)
    assert (response.status_code, response.json()["accepted"]) == (202, 5000)
    assert len(await edge.published()) == 5000


async def test_who_sends_sheets_too_fast_is_told_when_to_send_on_and_may_then(edge: Edge, credentials: Credentials) -> None:
    companies = {"gas-1": {"secrets": [edge.secrets["gas-1"]], "events_per_second": 2}}
    file = credentials.companies_file.with_name("slow.json")
    file.write_text(json.dumps(companies))
    # Four rows where two a second may come: taken, and the debt is waited for.
    sheets = [filled([STEP | {"报装编号": f"GS-{n}"} for n in rows]) for rows in (range(4), range(4, 5))]
    async with running(build_api(settings(edge.kafka, edge.topics.prefix, edge.dsn, file))) as client:
        slow = replace(edge, client=client)
        assert (await slow.send(sheets[0])).status_code == 202
        refused = await slow.send(sheets[1])
        assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        assert "2 events a second" in refused.json()["detail"]
        assert {event["subject"] for event in await edge.published()} == {f"GS-{n}" for n in range(4)}
        await asyncio.sleep(int(refused.headers["retry-after"]))
        assert (await slow.send(sheets[1])).status_code == 202
    assert {event["subject"] for event in await edge.published()} == {f"GS-{n}" for n in range(5)}


async def test_without_kafka_a_sheet_is_not_said_to_be_stored_and_sent_again_is_the_same(
    edge: Edge, database: TestDatabase, credentials: Credentials
) -> None:
    app = build_api(settings("127.0.0.1:1", "none", edge.dsn, credentials.companies_file))
    content = filled([STEP])
    async with running(app) as client:
        headers = signed(edge.secrets["gas-1"], content, XLSX)
        response = await client.post("/v1/companies/gas-1/sheets", content=content, headers=headers)
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert (await edge.send(content)).json()["repeated"] == 1
    assert len(await edge.published()) == 1


async def test_a_link_lets_in_once_and_ends(edge: Edge) -> None:
    token = await edge.link()
    for _ in range(2):  # looking does not use it up
        assert "进入" in (await edge.client.get(f"/login?token={token}")).text
    foreign = await edge.client.post("/login", data={"token": token}, headers={"sec-fetch-site": "cross-site"})
    assert foreign.status_code == 403
    entered = await edge.client.post("/login", data={"token": token}, headers={"sec-fetch-site": "same-origin"})
    cookie = entered.headers["set-cookie"].lower()
    assert entered.status_code == 303
    assert all(part in cookie for part in ("httponly", "samesite=strict", "max-age=28800", "path=/"))
    assert "乙燃气公司" in (await edge.client.get("/")).text
    again = await edge.client.post("/login", data={"token": token})
    assert (again.status_code, "已失效" in again.text) == (403, True)
    assert (await edge.client.get(f"/login?token={token}")).status_code == 403
    assert (await edge.client.post("/login", data={"token": "guess"})).status_code == 403


async def test_links_and_sessions_expire_and_can_be_revoked(edge: Edge, database: TestDatabase) -> None:
    async with pool_of(edge.dsn) as pool:
        old = datetime(2024, 5, 1, tzinfo=UTC)
        token, name = await pages.make_link(pool, "gas-1", old)
        assert name == "乙燃气公司"
        assert not await pages.link_stands(pool, token, now())
        assert await pages.log_in(pool, token, now()) is None
        session = await pages.log_in(pool, (await pages.make_link(pool, "gas-1", old))[0], old)
        assert session is not None
        assert await pages.company_of(pool, session, old) == "gas-1"
        assert await pages.company_of(pool, session, now()) is None
        with pytest.raises(pages.NotInRegistry):
            await pages.make_link(pool, "nobody", now())
        await edge.log_in()
        assert await pages.lock_out(pool, "gas-1", now()) >= 1
        assert "请用登录链接进入" in (await edge.client.get("/")).text
        await _no_token_is_kept(pool, token, session)


async def _no_token_is_kept(pool: Pool, *tokens: str) -> None:
    async with pool.acquire() as db:
        kept = [
            row[0] for row in await db.fetch("select token_digest from page_links union select token_digest from page_sessions")
        ]
    assert not any(token.encode() in digest for digest in kept for token in tokens)


async def test_a_form_of_another_site_or_session_does_nothing(edge: Edge) -> None:
    form = await edge.log_in()
    content = filled([STEP])
    for response in (
        await edge.upload(content, "0" * 64),
        await edge.upload(content, ""),
        await edge.client.post("/sheet", data={"form": form}, files={"sheet": ("x", content)}, headers={"origin": "http://evil"}),
        await edge.client.post("/logout", data={"form": "x"}),
    ):
        assert response.status_code == 403
    assert await edge.published() == []
    edge.client.cookies.clear()
    assert (await edge.upload(content, form)).status_code == 403
    assert (await edge.client.get("/continue.xlsx")).status_code == 303


async def test_every_page_has_headers_that_keep_it_to_itself(edge: Edge) -> None:
    await edge.log_in()
    for path in ("/", "/login?token=x"):
        headers = (await edge.client.get(path)).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert (headers["cache-control"], headers["x-content-type-options"], headers["x-frame-options"]) == (
            "no-store", "nosniff", "DENY",
        )  # fmt: skip
        assert "<script" not in (await edge.client.get(path)).text
    assert (await edge.client.get("/style.css")).headers["content-type"].startswith("text/css")


async def test_a_company_uploads_its_sheet_and_gets_a_marked_copy(edge: Edge) -> None:
    form = await edge.log_in()
    bad = await edge.upload(filled([STEP, STEP | {"环节": "<b>粉刷</b>"}, STEP | {"服务": "供水"}]), form)
    assert bad.status_code == 422
    assert "没有收下:2 行有问题" in bad.text
    assert "F3" in bad.text
    assert "<b>" not in bad.text
    found = re.search(r'href="data:[^;]+;base64,([^"]+)"', bad.text)
    assert found is not None
    copy = load_workbook(BytesIO(base64.b64decode(found[1])))
    copy["报装进度"]["F3"], copy["报装进度"]["E4"], copy["报装进度"]["B4"] = "接通", "燃气", "GS-2"
    good = await edge.upload(saved(copy), form)
    assert (good.status_code, "已收下 3 行" in good.text) == (200, True)
    partial = await edge.upload(filled([STEP, STEP | {"环节": "粉刷"}]), form, partial="yes")
    assert (partial.status_code, "已收下 1 行" in partial.text, "1 行有问题,没有收" in partial.text) == (200, True, True)
    for content, says in ((b"%PDF-", "PDF"), (b"", "没有选文件"), (filled(), "没有要报的行")):
        refused = await edge.upload(content, form)
        assert (refused.status_code in (400, 422), says in refused.text) == (True, True)
    large = await edge.upload(b"PK" + bytes(5 * 1024 * 1024), form)
    assert (large.status_code, "文件过大" in large.text) == (413, True)
    left = await edge.client.post("/logout", data={"form": form})
    assert (left.status_code, "已退出" in left.text) == (200, True)
    assert "请用登录链接进入" in (await edge.client.get("/")).text
