"""``./onething companies`` and ``./onething sheet`` as people run them, against the real service."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from openpyxl import load_workbook
from typer.testing import CliRunner

from deploy.local.__main__ import app
from services.utilities.domain.registry_file import read_registry
from tests.conftest import Credentials, Services, TestDatabase
from tests.sheets import HALL, MONTH, STEP, filled

REGISTRY = """企业编号,企业名称,服务,县(市、区),起始日期,终止日期,联系科室,办公电话
gas-1,乙燃气公司,燃气,满城区,2023-01-01,,工程建设科,0312-7070707
water-1,甲供水公司,供水,满城区,2023-01-01,,,
china-mobile,中国移动,通信,满城区,2023-01-01,,,
china-telecom,中国电信,通信,满城区,2023-01-01,,,
china-unicom,中国联通,通信,满城区,2023-01-01,,,
"""

Run = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def run(database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command with files meant from the test's folder; gives its exit status and all that it said."""
    monkeypatch.setenv("ONETHING_POSTGRES_DSN", database.dsn("utilities"))
    monkeypatch.setenv("ONETHING_CALLED_FROM", str(tmp_path))
    monkeypatch.setenv("ONETHING_STATE_DIR", str(tmp_path / "no-stack"))
    # As narrow as a terminal gets: what is looked for here is broken in no width.
    monkeypatch.setenv("COLUMNS", "80")

    async def command(*arguments: str) -> tuple[int, str]:
        # In a thread: the commands have event loops of their own.
        result = await asyncio.to_thread(lambda: CliRunner().invoke(app, list(arguments)))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return command


async def test_the_registry_goes_in_out_and_in_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(REGISTRY, encoding="gb18030")
    status, said = await run("companies", "import", "a.csv", "--dry-run")
    assert (status, "会有变动:新增5、变更0、移出0、不变0" in said, "没有写入" in said) == (0, True, True), said
    assert "登记企业0家" in (await run("companies", "list"))[1]
    assert "已导入:新增5" in (await run("companies", "import", "a.csv"))[1]
    status, said = await run("companies", "list")
    assert all(name in said for name in ("登记企业5家", "乙燃气公司", "中国移动", "中国电信", "中国联通")), said
    assert "0312-7070707" in (await run("companies", "list", "gas-1"))[1]
    for name in ("b.xlsx", "b.csv"):
        assert (await run("companies", "export", name))[0] == 0
        assert read_registry((tmp_path / name).read_bytes()).states == read_registry(REGISTRY.encode()).states
        assert "新增0、变更0、移出0、不变5(按县、企业、服务计),联系方式变动0处" in (await run("companies", "import", name))[1]
    (tmp_path / "c.csv").write_text(
        REGISTRY.replace("甲供水公司,供水,满城区,2023-01-01,,", "甲供水公司,供水,满城区,2023-01-01,2024-07-01,")
    )
    status, said = await run("companies", "import", "c.csv", "--dry-run")
    assert (status, "变更1" in said, "2023-01-01 至 2024-07-01" in said) == (0, True, True), said


async def test_a_registry_that_is_wrong_is_not_taken(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(REGISTRY + "gas-2,x,煤,满城区,2023-01-01,,,13800138000\n")
    status, said = await run("companies", "import", "a.csv")
    assert (status, "第7行“服务”列" in said, "第7行“办公电话”列:像是个人手机号" in said) == (1, True, True), said
    assert "登记企业0家" in (await run("companies", "list"))[1]
    for arguments in (("import", "none.csv"), ("export", "a.pdf"), ("list", "nobody"), ("link", "nobody", "--url", "http://x")):
        status, said = await run("companies", *arguments)
        assert (status, "✗" in said) == (1, True), said


async def test_a_sheet_is_made_checked_and_sent_and_a_link_opens_the_page(
    run: Run, tmp_path: Path, service: Services, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await run("sheet", "template", "t.xlsx"))[0] == 0
    assert "没有行可以报送" in (await run("sheet", "check", "t.xlsx"))[1]
    (tmp_path / "a.csv").write_text(REGISTRY)
    (tmp_path / "good.xlsx").write_bytes(filled([STEP], [HALL], [MONTH]))
    (tmp_path / "bad.xlsx").write_bytes(filled([STEP, STEP | {"环节": "粉刷"}, STEP | {"服务": "供水"}]))
    assert "3行可以报送" in (await run("sheet", "check", "good.xlsx"))[1]
    status, said = await run("sheet", "check", "bad.xlsx", "--company", "gas-1", "--registry", "a.csv", "--marked", "m.xlsx")
    assert (status, "F3" in said, "D4" in said, "2行有问题" in said) == (1, True, True, True), said
    assert load_workbook(tmp_path / "m.xlsx")["报装进度"]["F3"].comment is not None
    for file, says in (("a.csv", "不是 .xlsx"), ("none.xlsx", "读不到")):
        status, said = await run("sheet", "check", file)
        assert (status, says in said) == (1, True), said

    assert (await run("companies", "import", "a.csv"))[0] == 0
    api = await service("utilities", "api")
    monkeypatch.setenv("GAS_SECRET", credentials.companies["gas-1"])
    to = ("--company", "gas-1", "--url", api.url, "--secret", "env:GAS_SECRET")
    assert "已收下3行" in (await run("sheet", "send", "good.xlsx", *to))[1]
    status, said = await run("sheet", "send", "good.xlsx", *to)
    assert (status, "其中3行与以前报过的完全相同" in said) == (0, True), said
    status, said = await run("sheet", "send", "bad.xlsx", *to)
    assert (status, "没有报送" in said) == (1, True), said
    status, said = await run("sheet", "send", "bad.xlsx", "--partial", *to)
    assert (status, "已收下1行" in said, "2行有问题,没有收" in said, "登记表里没有" in said) == (1, True, True, True), said
    monkeypatch.setenv("GAS_SECRET", credentials.companies["water-1"])
    status, said = await run("sheet", "send", "good.xlsx", *to)
    assert (status, "密钥不对" in said) == (1, True), said

    status, said = await run("companies", "link", "gas-1", "--url", api.url)
    found = re.search(r"http://\S+/login\?token=(\S+)", said)
    assert (status, found is not None) == (0, True), said
    assert found is not None
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as browser:
        assert (await browser.post("/login", data={"token": found[1]})).status_code == 303
        page = await browser.get("/")
        assert all(words in page.text for words in ("乙燃气公司", "工程建设科", "0312-7070707"))
        assert found[1] not in api.log
        assert "1 个" in (await run("companies", "link", "gas-1", "--revoke"))[1]
        assert "请用登录链接进入" in (await browser.get("/")).text
