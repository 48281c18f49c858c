"""The companies' page as a water company's clerk uses it: a real browser on real processes, mostly without scripts."""

import asyncio
from io import BytesIO
from typing import Final

import pytest
from axe_playwright_python.async_playwright import Axe
from openpyxl import load_workbook
from playwright.async_api import expect

from services.utilities.domain.sheets.layout import MEDIA_TYPE
from services.utilities.handlers.page import make_link
from shared.clock import now
from tests.conftest import Services, TestDatabase
from tests.e2e.test_page import PATIENCE_MS, Visit, chromium, visit
from tests.sheets import HALL, MONTH, STEP, filled
from tests.utilities_support import import_registry, pool_of

REGISTRY: Final = """company,name,service,county,valid_from,valid_to,office,phone
gas-1,乙燃气公司,gas,130607,2023-01-01,,工程建设科,0312-7070707
gas-1,乙燃气公司,gas,130635,2023-01-01,,,
water-1,甲供水公司,water,130607,2023-01-01,,,
"""
PHONE: Final = 375


async def link(dsn: str, url: str) -> str:
    """A link as the bureau sends it to the gas company."""
    async with pool_of(dsn) as pool:
        token, _ = await make_link(pool, "gas-1", now())
    return f"{url}/login?token={token}"


async def upload(on: Visit, content: bytes) -> None:
    """Chooses a file and sends it."""
    await on.go("/")
    file = {"name": "七月.xlsx", "mimeType": MEDIA_TYPE, "buffer": content}
    await on.page.get_by_label("填好的报送表").set_input_files(file)  # type: ignore[arg-type]
    await on.page.get_by_role("button", name="报送", exact=True).click()


async def download(on: Visit, name: str) -> tuple[str, bytes]:
    """What a link's file is called and holds."""
    async with on.page.expect_download() as waiting:
        await on.page.get_by_role("link", name=name).click()
    saved = await waiting.value
    return saved.suggested_filename, (await saved.path()).read_bytes()


@pytest.mark.timeout(240)
async def test_the_company_page(service: Services, database: TestDatabase) -> None:
    dsn = database.dsn("utilities")
    await import_registry(dsn, REGISTRY)
    api, _ = await asyncio.gather(service("utilities", "api"), service("utilities", "worker"))
    async with chromium() as browser:
        async with visit(browser, api.url, java_script_enabled=False, viewport={"width": 1200, "height": 900}) as desk:
            opened = await link(dsn, api.url)
            await a_link_lets_in_once(desk, opened)
            await a_bad_sheet_is_answered_by_row_and_column_with_a_marked_copy(desk)
            await a_good_sheet_is_taken_and_shown(desk)
            await last_months_sheet_goes_on(desk)
            await another_site_s_form_and_a_second_login_do_nothing(desk, opened)
            await it_ends(desk)
        async with visit(browser, api.url, viewport={"width": PHONE, "height": 800}) as phone:
            await everybody_can_use_it_on_a_phone(phone, await link(dsn, api.url))
    assert opened.partition("=")[2] not in api.log


async def a_link_lets_in_once(on: Visit, opened: str) -> None:
    await on.page.goto(opened)
    await on.page.goto(opened)  # a mail filter looked first: that does not use it up
    await on.page.get_by_role("button", name="进入").click()
    await expect(on.page.get_by_role("heading", level=1)).to_have_text("乙燃气公司")
    assert on.page.url == f"{on.url}/", "the token has left the address"
    (cookie,) = await on.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    halls = on.page.locator("table", has_text="进驻形式").locator("tbody tr")
    await expect(halls).to_have_count(2)
    await expect(halls.first).to_contain_text("满城区")
    await expect(halls.first).to_contain_text("未报送")
    await expect(halls.first).to_contain_text("工程建设科 0312-7070707")
    await expect(on.page.locator("main")).to_contain_text("没有在办的报装")
    await expect(on.page.locator("main")).not_to_contain_text("甲供水公司")


async def a_bad_sheet_is_answered_by_row_and_column_with_a_marked_copy(on: Visit) -> None:
    await upload(on, filled([STEP, STEP | {"环节": "<b>粉刷</b>"}, STEP | {"服务": "供水", "报装编号": "GS-2"}], [HALL]))
    await expect(on.page.get_by_role("heading", level=1)).to_have_text("没有收下:2 行有问题")
    errors = on.page.locator("tbody tr")
    await expect(errors).to_have_count(2)
    assert (await errors.first.locator("td").all_inner_texts())[:4] == ["报装进度", "3", "环节", "F3"]
    await expect(errors.nth(1)).to_contain_text("登记表里没有")
    name, content = await download(on, "下载标注后的表")
    marked = load_workbook(BytesIO(content))["报装进度"]
    assert name == "onething-sheet-marked.xlsx"
    assert marked["F3"].comment is not None
    assert marked["D4"].comment is not None
    await upload(on, b"%PDF-1.7")
    await expect(on.page.get_by_role("heading", level=1)).to_have_text("这个文件不能收")
    on.complaints.clear()  # the browser tells of each 4xx
    await on.go("/")
    await expect(on.page.locator("main")).to_contain_text("没有在办的报装")


async def a_good_sheet_is_taken_and_shown(on: Visit) -> None:
    done = STEP | {"报装编号": "GS-9", "环节": "接通", "发生时间": f"{now():%Y-%m}-01"}
    await upload(on, filled([STEP, done | {"环节": "受理"}, done], [HALL], [MONTH]))
    await expect(on.page.get_by_role("heading", level=1)).to_have_text("已收下 5 行")
    await on.page.get_by_role("link", name="回到首页").click()
    overdue = on.page.locator("tbody tr", has_text="GS-1")
    for _ in range(PATIENCE_MS // 250):  # the worker takes it a moment later
        if await overdue.count() and await on.page.get_by_text("已到位").count():
            break
        await on.page.wait_for_timeout(250)
        await on.page.reload()
    await expect(overdue).to_contain_text("2024-05-01")
    await expect(on.page.get_by_role("heading", name="已超期")).to_have_text("已超期(1件)")
    await expect(on.page.locator("main")).not_to_contain_text("GS-9")
    await expect(on.page.locator("tbody tr", has_text="满城区").filter(has_text="综合窗口")).to_contain_text("已到位")
    await expect(on.page.locator("tbody tr", has_text="蠡县")).to_contain_text("未到位")


async def last_months_sheet_goes_on(on: Visit) -> None:
    await on.go("/")
    name, content = await download(on, "下载续填表")
    assert name.startswith("onething-gas-1-")
    steps = [[cell.value for cell in row] for row in load_workbook(BytesIO(content))["报装进度"].iter_rows(min_row=2)]
    assert {row[1] for row in steps if row[1]} == {"GS-1", "GS-9"}
    assert {row[0] for row in steps if row[1]} == {"已报"}
    await upload(on, content)
    await expect(on.page.get_by_role("heading", level=1)).to_have_text("没有要报的行")
    on.complaints.clear()


async def another_site_s_form_and_a_second_login_do_nothing(on: Visit, opened: str) -> None:
    foreign = await on.context.request.post(f"{on.url}/logout", form={"form": "x"}, headers={"origin": "https://elsewhere.example"})
    assert foreign.status == 403
    again = await on.context.request.post(f"{on.url}/login", form={"token": opened.partition("=")[2]}, headers={"origin": on.url})
    assert again.status == 403
    await on.page.goto(opened)
    await expect(on.page.get_by_role("heading", level=1)).to_have_text("链接已失效")
    on.complaints.clear()
    await on.go("/")
    await expect(on.page.get_by_role("heading", level=1)).to_have_text("乙燃气公司")


async def it_ends(on: Visit) -> None:
    await on.page.get_by_role("button", name="退出").click()
    await expect(on.page.get_by_role("heading", name="已退出")).to_be_visible()
    assert await on.context.cookies() == []
    await on.go("/")
    await expect(on.page.get_by_role("heading", level=1)).to_have_text("请用登录链接进入")


async def everybody_can_use_it_on_a_phone(on: Visit, opened: str) -> None:
    await it_fits(on)  # nobody is logged in
    await on.page.goto(opened)
    await it_fits(on)
    await on.page.keyboard.press("Tab")
    await expect(on.page.get_by_role("link", name="跳到正文")).to_be_focused()
    await on.page.keyboard.press("Tab")
    await on.page.keyboard.press("Enter")
    await expect(on.page.get_by_role("heading", level=1)).to_have_text("乙燃气公司")
    await it_fits(on)
    await upload(on, filled([STEP | {"环节": "粉刷"}]))
    await expect(on.page.locator("tbody tr")).to_contain_text(["F2"])
    on.complaints.clear()
    await it_fits(on)


async def it_fits(on: Visit) -> None:
    """No wider than the phone, and nothing that axe finds serious."""
    if on.page.url == "about:blank":
        await on.go("/")
    assert await on.page.evaluate("document.documentElement.scrollWidth") <= PHONE, on.page.url
    found = (await Axe().run(on.page)).response
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["target"] for n in v["nodes"]][:5]) for v in serious] == [], on.page.url
