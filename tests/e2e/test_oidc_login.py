"""The bureau's single sign-on in a real browser: off to the issuer on another site, back, and in, with and without scripts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from oidc_provider_mock import User, run_server_in_thread
from playwright.async_api import expect
from pydantic import SecretStr

from deploy.local.parts import LOOPBACK, free_ports
from services.metrics.main import build_api
from services.metrics.settings import Settings
from tests.conftest import TestDatabase
from tests.e2e.test_page import PATIENCE_MS, chromium

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the provider's own


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(build_api(settings), host=LOOPBACK, port=settings.port, log_config=None))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.05)
    yield settings.page_url
    server.should_exit = True
    await serving


async def test_a_countys_clerk_logs_in_and_out_at_the_issuer(database: TestDatabase) -> None:
    port = next(free_ports())
    clerk = User(sub="clerk", claims={"onething_scope": "county", "onething_county": "130607"})
    # The issuer is at localhost and the page at 127.0.0.1: for a browser two sites, as they are in a city.
    with run_server_in_thread(user_claims=[clerk], require_nonce=True) as issuer:
        settings = Settings(
            postgres_dsn=SecretStr(database.dsn("metrics")), reader_token=SecretStr("reader"), port=port,
            page_url=f"http://{LOOPBACK}:{port}", oidc_issuer=f"http://localhost:{issuer.server_port}", oidc_client_id="onething",
            oidc_client_secret=SecretStr("of the client"),
        )  # fmt: skip
        async with served(settings) as url, chromium() as browser:
            for scripts in (True, False):
                context = await browser.new_context(locale="zh-CN", java_script_enabled=scripts)
                context.set_default_timeout(PATIENCE_MS)
                page = await context.new_page()
                await page.goto(f"{url}/cases?county=130607")
                await page.get_by_role("link", name="用统一身份认证登录").click()
                await page.get_by_role("button", name="clerk").click()
                await page.wait_for_url(f"{url}/cases?county=130607")
                await expect(page.get_by_role("heading", name="满城区")).to_be_visible()
                await page.goto(url)
                await expect(page.locator(".ranking tbody tr")).to_have_count(1)
                await expect(page.locator(".ranking caption")).to_contain_text("满城区在全市的")
                await page.get_by_role("button", name="退出").click()
                await page.get_by_role("link", name="同时退出统一身份认证").click()
                assert page.url.startswith(f"http://localhost:{issuer.server_port}/oauth2/end_session")
                await page.goto(url)
                await expect(page.get_by_role("heading", name="登录")).to_be_visible()
                await context.close()
