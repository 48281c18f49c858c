"""``./onething notice`` against a real api: what is written, what is said, and how it leaves."""

import asyncio
import io
import json
import os
from pathlib import Path

import openpyxl
from docx import Document

from deploy.local.parts import ROOT
from services.metrics.domain.notice import digest
from tests.conftest import Credentials, Services


async def test_the_command_writes_freezes_and_checks(service: Services, credentials: Credentials, tmp_path: Path) -> None:
    api = await service("metrics", "api")
    (tmp_path / "endpoints.json").write_text(json.dumps({"metrics": api.url, "operator_token": credentials.operator_token}))

    async def notice(*arguments: str, state: Path = tmp_path) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            ROOT / "onething", "notice", *arguments,
            env=os.environ | {"ONETHING_STATE_DIR": str(state), "COLUMNS": "140"}, cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    status, said = await notice("2024-09")
    assert (status, "共办理“残疾人服务”一件事0件" in said, "| 19 |" in said) == (0, True, False), said
    # From where it was called, in the form of the suffix.
    results = await asyncio.gather(*(notice("2024-09", "--out", f"九月.{form}") for form in ("docx", "xlsx", "md", "json")))
    assert [status for status, _ in results] == [0, 0, 0, 0], results
    assert results[0][1].startswith("已生成 九月.docx(")
    assert Document(io.BytesIO((tmp_path / "九月.docx").read_bytes())).core_properties.author == "保定市行政审批局"
    assert openpyxl.load_workbook(tmp_path / "九月.xlsx")["办件情况"].freeze_panes == "A3"
    assert (tmp_path / "九月.md").read_text().startswith("# 关于2024年9月“残疾人服务”一件事办理情况的通报")

    status, said = await notice("verify", "九月.json")
    assert (status, "不是已冻结的通报" in said) == (1, True), said
    status, said = await notice("freeze", "2024-09", "--by", "李科长")
    assert (status, "李科长" in said, "此前已冻结" in said) == (0, True, False), said
    again, other, written = await asyncio.gather(
        notice("freeze", "2024-09"), notice("freeze", "2024-09", "--top", "3"), notice("2024-09", "--out", "冻结.json")
    )
    assert (again[0], "此前已冻结,内容没有变化" in again[1]) == (0, True), again
    assert (other[0], "参数为 low=10" in other[1]) == (1, True), other
    assert written[0] == 0
    frozen = json.loads((tmp_path / "冻结.json").read_text())
    assert frozen["frozen"]["sha256"] == digest(frozen)
    assert frozen["frozen"]["sha256"] in again[1]
    (tmp_path / "改过.json").write_text(json.dumps({**frozen, "total": 9}))
    (tmp_path / "乱.json").write_text("{")
    checks = await asyncio.gather(
        notice("verify", "冻结.json"), notice("verify", "改过.json"), notice("verify", "乱.json"), notice("verify", "没有.json"),
        notice("2024-09", "--out", "九月.pdf"), notice("2024-9"), notice("freeze", "2099-01"), notice("2024-09", "--item", "x"),
        notice("2024-09", state=tmp_path / "nothing"), notice("2024-09", "--out", "没有/九月.docx"),
    )  # fmt: skip
    for (status, said), (left, words) in zip(checks, [
        (0, "一致"), (1, "被改动过"), (1, "不是 JSON 文件"), (1, "读不了"), (1, "不认识的后缀"), (1, "请写成 2024-09 这样"),
        (1, "请写成 2024-09 这样"), (1, "可用:enterprise-change"), (1, "请先用 ./onething up 启动"), (1, "写不了"),
    ], strict=True):  # fmt: skip
        assert (status, words in said) == (left, True), said
