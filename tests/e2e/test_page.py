"""The page as people use it: a real browser on real processes, from the login to a push that moves a bar."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from standardwebhooks.webhooks import Webhook

from deploy.local.page import login_address
from deploy.local.sample import golden
from services.metrics.handlers import counting
from services.metrics.handlers.counting import RawRecord, Unusable
from shared import counties, postgres
from shared.clock import SHANGHAI
from shared.events import progress
from tests.conftest import Credentials, Services, TestDatabase

SENDER: Final = "hebei-onething"
SOURCE: Final = "urn:onething:province:hebei"
PATIENCE_MS: Final = 20_000
MOST_BYTES: Final = 1_500_000
WEIGHT: Final = """
["navigation", "resource"].flatMap(kind => performance.getEntriesByType(kind)).reduce((sum, one) => sum + one.decodedBodySize, 0)
"""
MARK_ROWS: Final = """
addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-key]").forEach(row => { row.kept = true }))
"""
GOLDEN_MONTH: Final = "/?item=disabled-service&as_of=2024-09-30"
EXAMPLES: Final = Path(progress.__file__).parent / "examples/progress"
BOTH: Final = ["joint_installation", "public_service"]


def applied(case_no: str, county: str, at: datetime) -> dict[str, Any]:
    data = {
        "case_no": case_no,
        "item": golden.ITEM,
        "county": county,
        "step": "applied",
        "occurred_at": at.isoformat(),
        "recorded_at": at.isoformat(),
        "channel": "web",
    }
    return {
        "specversion": "1.0", "id": f"e-{case_no}", "source": SOURCE, "type": "cn.onething.case.step.v1", "subject": case_no,
        "time": at.isoformat(), "data": data,
    }  # fmt: skip


def golden_cases() -> list[dict[str, Any]]:
    """One event a case; days go round through the season."""
    days = itertools.cycle(range((golden.AS_OF - golden.FIRST_DAY).days + 1))
    return [
        applied(f"{code}-{n}", code, datetime.combine(golden.FIRST_DAY + timedelta(days=next(days)), datetime.min.time(), SHANGHAI))
        for code, figures in golden.GOLDEN.items()
        for n in range(figures.handled)
    ]


def entered_wrongly() -> list[dict[str, Any]]:
    """The first case at another county than its own, and one that should not be."""
    first = golden_cases()[0]
    return [
        {**first, "id": "e-wrong", "data": {**first["data"], "county": "130635"}},
        applied("gone", "130607", datetime.combine(golden.FIRST_DAY, datetime.min.time(), SHANGHAI)),
    ]


def put_right() -> list[dict[str, Any]]:
    first, gone = entered_wrongly()
    later = datetime.combine(golden.AS_OF, datetime.min.time(), SHANGHAI).isoformat()
    moved = {**first["data"], "county": golden_cases()[0]["data"]["county"], "recorded_at": later}
    return [
        {**first, "id": "e-right", "data": moved},
        {**gone, "id": "e-deleted", "data": {**gone["data"], "operation": "delete", "recorded_at": later}},
    ]


def halls() -> list[dict[str, Any]]:
    """满城区 has a gas company in the hall that handles nothing, 蠡县 one that never came; and the examples of installations."""

    def told(kind: str, subject: str, state: dict[str, Any]) -> dict[str, Any]:
        return {"kind": kind, "subject": subject, "version": 1, "deleted": False, "state": state}

    records = []
    for county in ("130607", "130635"):
        who = {"county": county, "company": "gas-1", "service": "gas"}
        subject = f"{county}/gas-1/gas"
        records.append(told("registry", subject, who | {"name": "第一燃气公司", "periods": [{"valid_from": "2023-01-01"}]}))
    period = {"effective_on": "2024-01-01", "level": "own_window", "handles": BOTH}
    records.append(
        told("presence", "130607/gas-1/gas", {"county": "130607", "company": "gas-1", "service": "gas", "periods": [period]})
    )
    examples = [orjson.loads((EXAMPLES / f"{name}.json").read_bytes()) for name in ("installation", "joint")]
    return records + [example["data"] for example in examples]


async def fill(dsn: str) -> None:
    async def park(unusable: Sequence[Unusable]) -> None:
        raise AssertionError(f"nothing here should be parked: {unusable[0].error}")

    snapshots = [RawRecord(n, orjson.dumps({"type": progress.TYPE, "data": data})) for n, data in enumerate(halls())]
    async with await postgres.open_pool(dsn, application="test", size=1) as pool:
        offset = 0
        for batch in (entered_wrongly(), golden_cases(), put_right()):
            cases = [RawRecord(offset + n, orjson.dumps(event)) for n, event in enumerate(batch)]
            offset = await counting.count_batch(pool, park, "golden", 0, offset, cases)
        await counting.fold_counters(pool)
        await counting.keep_snapshots(pool, park, "golden-halls", 0, 0, snapshots)


class Visit:
    """A browser's visit: what it complained of, and what it asked whom for."""

    def __init__(self, page: Page, context: BrowserContext, url: str) -> None:
        self.page, self.context, self.url = page, context, url
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    async def go(self, path: str) -> None:
        await self.page.goto(self.url + path)


@asynccontextmanager
async def visit(browser: Browser, url: str, **options: Any) -> AsyncIterator[Visit]:
    """Fails when the browser complained, or asked anybody else for anything."""
    context = await browser.new_context(locale="zh-CN", **options)
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    made = Visit(await context.new_page(), context, url)
    yield made
    assert made.complaints == []
    assert {urlsplit(asked).netloc for asked in made.asked} == {urlsplit(url).netloc}
    await context.close()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found is not None, "install Debian's package chromium (./onething test does), or another Chromium"
    args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=args)
        yield browser
        await browser.close()


async def log_in(on: Visit, token: str, path: str = GOLDEN_MONTH) -> None:
    await on.go(path)
    await on.page.get_by_label("令牌").fill(token)
    await on.page.get_by_role("button", name="进入").click()
    await expect(on.page.locator("#total")).to_be_visible()


@pytest.mark.timeout(240)
async def test_the_page(service: Services, credentials: Credentials, database: TestDatabase) -> None:
    await fill(database.dsn("metrics"))
    starts = [("intake", "api"), ("metrics", "api"), ("metrics", "worker")]
    intake, api, _ = await asyncio.gather(*(service(*part) for part in starts))  # type: ignore[arg-type]
    async with chromium() as browser:
        async with visit(browser, api.url, viewport={"width": 1200, "height": 900}) as desk:
            await a_token_opens_the_page_and_stays_hidden(desk, credentials.reader_token)
            await the_golden_month_is_shown(desk)
            await everybody_can_use_it(desk)
            await the_day_is_in_the_address(desk)
            await a_number_opens_to_the_case(desk)
            await every_number_opens_to_as_much(desk)
            await a_change_is_told_with_its_reason(desk)
            await halls_and_installations_open_to_companies(desk)
            await it_is_used_by_keyboard(desk)
            await a_push_moves_a_bar(desk, intake.url, credentials.senders[SENDER])
            await the_session_reads_the_api_and_ends(desk)
        async with visit(browser, api.url, viewport={"width": 375, "height": 800}) as phone:
            await a_link_logs_in_once(phone, api.url, credentials.reader_token)
            await it_fits_a_phone(phone)
        async with visit(browser, api.url, java_script_enabled=False) as plain:
            await it_is_complete_without_scripts(plain, credentials.reader_token)
    assert credentials.reader_token not in api.log
    await forms_of_others_are_refused(api.url, credentials.reader_token)


async def a_token_opens_the_page_and_stays_hidden(on: Visit, token: str) -> None:
    await on.go(GOLDEN_MONTH)
    await expect(on.page.get_by_role("heading", name="登录")).to_be_visible()
    on.complaints.clear()
    await log_in(on, token)
    assert on.page.url == on.url + GOLDEN_MONTH, "on to where one wanted to, without the token"
    (cookie,) = await on.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert token not in cookie["value"]
    ends = datetime.fromtimestamp(cookie["expires"], UTC) - datetime.now(UTC)
    assert ends <= timedelta(hours=12)


async def the_golden_month_is_shown(on: Visit) -> None:
    answer = await on.page.goto(on.url + GOLDEN_MONTH)
    assert answer is not None
    policy = (await answer.all_headers())["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    await expect(on.page.locator("#total")).to_have_text("615")
    rows = on.page.locator(".ranking tbody tr")
    await expect(rows).to_have_count(len(counties.ROSTER))
    await expect(rows.first).to_contain_text("满城区 非试点")
    await expect(rows.first).to_contain_text("163")
    await expect(rows.first).to_contain_text("26.5%")
    await expect(on.page.locator("[data-key='130635']")).to_contain_text("蠡县 试点")
    for row in await on.page.locator(".ranking tr.zero").all():
        await expect(row).to_be_visible()
    assert await on.page.locator(".ranking tr.zero").count() == golden.AT_ZERO
    assert await on.page.locator(".ranking .tag.soon").count() == golden.UNDER_TEN - golden.AT_ZERO
    widths = await on.page.locator(".ranking rect").evaluate_all("all => all.map(r => Number(r.getAttribute('width')))")
    assert widths[0] == 100
    assert widths[1] == pytest.approx(100 * 94 / 163, abs=0.01)
    assert 0 < await on.page.evaluate(WEIGHT) < MOST_BYTES


async def everybody_can_use_it(on: Visit) -> None:
    found = (await Axe().run(on.page)).response
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["target"] for n in v["nodes"]][:5]) for v in serious] == []


async def the_day_is_in_the_address(on: Visit) -> None:
    until = datetime(2024, 8, 31, 23, 59, tzinfo=SHANGHAI)
    expected = sum(datetime.fromisoformat(case["time"]) <= until for case in golden_cases())
    assert 0 < expected < golden.TOTAL
    await on.page.get_by_label("截至").fill("2024-08-31")
    await on.page.get_by_role("button", name="查看").click()
    await expect(on.page.locator("#total")).to_have_text(str(expected))
    asked = parse_qs(urlsplit(on.page.url).query)
    assert asked == {"item": ["disabled-service"], "measure": ["handled"], "as_of": ["2024-08-31"]}
    await on.go(urlsplit(on.page.url).path + "?" + urlsplit(on.page.url).query)
    await expect(on.page.locator("#total")).to_have_text(str(expected))


async def a_number_opens_to_the_case(on: Visit) -> None:
    await on.go(GOLDEN_MONTH)
    await on.page.locator("[data-key='130607'] a.count").click()
    await expect(on.page.get_by_role("heading", level=1)).to_have_text("满城区“残疾人服务”办件:163件")
    cases = on.page.locator("tbody tr")
    await expect(cases).to_have_count(100)
    await on.page.get_by_role("link", name="下一页").click()
    await expect(cases).to_have_count(63)
    case_no = await cases.first.locator("a").inner_text()
    await cases.first.locator("a").click()
    await expect(on.page.get_by_role("heading", level=1)).to_have_text(f"办件 {case_no}")
    await expect(on.page.locator("tr", has_text="环节:申报").locator("code")).to_have_text(f"e-{case_no}")


async def every_number_opens_to_as_much(on: Visit) -> None:
    """Each link of the first page leads somewhere, and a number of cases to as many."""
    await on.go(GOLDEN_MONTH)
    links = await on.page.locator("main a").evaluate_all("all => all.map(a => [a.getAttribute('href'), a.innerText])")
    assert {urlsplit(href).path for href, _ in links} >= {
        "/cases",
        "/changes",
        "/units/130607",
        "/halls/130607",
        "/installations",
        "/joint",
    }
    for place in {urlsplit(href).fragment for href, _ in links if href.startswith("#")}:
        assert await on.page.locator(f"[id='{place}']").count() == 1, place
    opened = {href: said.removeprefix("+") for href, said in links if href.startswith("/") and not href.startswith("/cases/")}
    # One of each kind of question, for they are hundreds: as many cases as the number says, in the city and in a unit.
    kinds = {(urlsplit(href).path.split("/")[1], *sorted(parse_qs(urlsplit(href).query))): href for href in opened}
    for (page, *_), href in kinds.items():
        answer = await on.context.request.get(on.url + href)
        assert answer.status == 200, href
        if page == "cases":
            assert f":{opened[href]}件" in await answer.text(), href
    months = [href for href in opened if "2024-07-01" in href and "measure=handled" in href]
    assert [opened[href] for href in months] == [str(sum(case["time"][:7] == "2024-07" for case in golden_cases()))]


async def a_change_is_told_with_its_reason(on: Visit) -> None:
    await on.go("/")
    # All of it arrived just now.
    await expect(on.page.locator("#changes")).to_contain_text(f"净变化+{golden.TOTAL}件")
    cards = on.page.locator("#changes .figures li")
    await expect(cards).to_contain_text([f"新增+{golden.TOTAL + 1}", "改属地或事项1", "更正0", "删除1", "恢复0"])
    await expect(cards.filter(has_text="删除")).to_contain_text("净−1")
    await cards.filter(has_text="改属地").get_by_role("link").click()
    row = on.page.locator("tbody tr")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("蠡县")
    await on.page.get_by_label("县(市、区)").select_option("130635")
    await on.page.get_by_role("button", name="查看").click()
    await expect(on.page.locator("main ul")).to_contain_text("移入0件,移出1件")
    await row.get_by_role("link").click()
    await expect(on.page.get_by_role("heading", level=1)).to_contain_text(golden_cases()[0]["subject"])


async def halls_and_installations_open_to_companies(on: Visit) -> None:
    await on.go(GOLDEN_MONTH)
    matrix = on.page.locator("#halls tbody tr")
    await expect(matrix).to_have_count(len(counties.ROSTER))
    await expect(matrix.filter(has_text="满城区")).to_contain_text("● 已进驻")
    await expect(matrix.filter(has_text="蠡县")).to_contain_text("○ 未进驻")
    await expect(on.page.locator("#idle tbody tr")).to_contain_text(["满城区"])
    await expect(on.page.locator("#fresh")).to_contain_text("✓ 核对了616件办件")
    await matrix.filter(has_text="满城区").get_by_role("link", name="满城区").click()
    await expect(on.page.locator("tbody tr")).to_contain_text(["第一燃气公司"])
    await on.go("/installations?state=opened")
    installation = orjson.loads((EXAMPLES / "installation.json").read_bytes())["data"]["state"]
    await expect(on.page.locator("tbody tr")).to_contain_text([installation["installation_no"]])


async def it_is_used_by_keyboard(on: Visit) -> None:
    await on.go(GOLDEN_MONTH)
    await on.page.keyboard.press("Tab")
    await expect(on.page.get_by_role("link", name="跳到正文")).to_be_focused()
    for _ in range(60):
        await on.page.keyboard.press("Tab")
        if await on.page.evaluate("document.activeElement.id") == "total":
            break
    await expect(on.page.locator("#total")).to_be_focused()
    await on.page.keyboard.press("Enter")
    await expect(on.page.get_by_role("heading", level=1)).to_have_text("全市“残疾人服务”办件:615件")


async def a_push_moves_a_bar(on: Visit, intake: str, secret: str) -> None:
    await on.page.add_init_script(MARK_ROWS)
    await on.go(GOLDEN_MONTH)
    await expect(on.page.locator("#state")).to_have_text("实时更新中")
    row = on.page.locator("[data-key='130671']")
    await expect(row.locator("a.count")).to_have_text("0")
    await row.locator("a.count").focus()
    event = applied("130671-pushed", "130671", datetime(2024, 9, 12, 9, tzinfo=SHANGHAI))
    body, at = orjson.dumps([event]), datetime.now(UTC)
    headers = {
        "content-type": "application/cloudevents-batch+json", "webhook-id": "msg-page",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg-page", at, body.decode()),
    }  # fmt: skip
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        assert (await client.post(f"{intake}/v1/senders/{SENDER}/events", content=body, headers=headers)).status_code == 202
    await expect(row.locator("a.count")).to_have_text("1")
    await expect(on.page.locator("#total")).to_have_text("616")
    assert float(await row.locator("rect").get_attribute("width") or 0) > 0
    assert await row.evaluate("row => row.kept === true"), "the row itself stayed: nothing flickers"
    await expect(row.locator("a.count")).to_be_focused()


async def the_session_reads_the_api_and_ends(on: Visit) -> None:
    asked = on.context.request
    assert (await asked.get(f"{on.url}/v1/ranking?item=disabled-service")).status == 200
    assert (await asked.post(f"{on.url}/v1/what-if", data={})).status == 401, "a session is for reading alone"
    (cookie,) = await on.context.cookies()
    await on.page.get_by_role("button", name="退出").click()
    await expect(on.page.get_by_role("heading", name="已退出")).to_be_visible()
    assert await on.context.cookies() == []
    async with httpx.AsyncClient(trust_env=False) as client:
        copied = {"cookie": f"{cookie['name']}={cookie['value']}"}
        assert (await client.get(f"{on.url}/v1/ranking?item=disabled-service", headers=copied)).status_code == 401


async def a_link_logs_in_once(on: Visit, url: str, token: str) -> None:
    link = login_address({"metrics": url, "reader_token": token})
    await on.page.goto(link)
    await expect(on.page.locator("#total")).to_be_visible()
    assert on.page.url == f"{url}/"
    again = await on.context.request.post(
        f"{url}/session", form={"link": parse_qs(urlsplit(link).query)["link"][0]}, headers={"origin": url}
    )
    assert again.status == 403
    assert "链接已失效" in await again.text()


async def it_fits_a_phone(on: Visit) -> None:
    for path in (
        GOLDEN_MONTH,
        "/changes",
        "/units/130607",
        "/joint",
        "/cases?county=130607&as_of=2024-09-30",
        "/halls/130607",
        "/installations?state=opened",
    ):
        await on.go(path)
        assert await on.page.evaluate("document.documentElement.scrollWidth") <= 375, path
    await on.go(GOLDEN_MONTH)
    for row in (on.page.locator("[data-key='130607']"), on.page.locator("[data-key='130672']")):
        await row.scroll_into_view_if_needed()
        box = await row.locator("a.count").bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 375


async def it_is_complete_without_scripts(on: Visit, token: str) -> None:
    await log_in(on, token)
    await expect(on.page.locator(".ranking tbody tr")).to_have_count(len(counties.ROSTER))
    await on.page.get_by_label("指标").select_option("online")
    await on.page.get_by_role("button", name="查看").click()
    await expect(on.page.locator("#ranking caption")).to_contain_text("网办排名")
    await expect(on.page.locator("#halls tbody tr")).to_have_count(len(counties.ROSTER))


async def forms_of_others_are_refused(url: str, token: str) -> None:
    async with httpx.AsyncClient(trust_env=False, base_url=url) as client:
        for theirs in ({"sec-fetch-site": "cross-site"}, {"origin": "https://elsewhere.example"}):
            answer = await client.post("/session", data={"token": token}, headers=theirs)
            assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
        wrong = await client.post("/session", data={"token": "wrong"})
        assert (wrong.status_code, "set-cookie" in wrong.headers) == (403, False)
        away = await client.post("/session", data={"token": token, "next": "//elsewhere.example"})
        assert (away.status_code, away.headers["location"]) == (303, "/")
        for path in (
            "/?as_of=x",
            "/?item=x",
            "/?measure=x",
            "/halls/x",
            "/cases?county=x",
            "/cases?after=x",
            "/installations?state=x",
            "/changes?why=x",
            "/changes?since=2024-10-01&as_of=2024-09-30",
            "/units/x",
            "/joint?state=x",
        ):
            answer = await client.get(path)
            assert (answer.status_code, "请重新选择" in answer.text) == (422, True), path
