"""``./onething consistency``, ``recount`` and ``rebuild`` against a real api: what is said, and how they leave."""

import asyncio
import json
import os
import sys
from pathlib import Path

import asyncpg
import pytest

from deploy.local.upkeep import role_dsn
from shared.kafka import Topics
from tests import load
from tests.conftest import Credentials, Services, TestDatabase
from tests.metrics_support import send, taken, until


async def onething(state: Path, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local", *arguments,
        env=os.environ | {"ONETHING_STATE_DIR": str(state), "COLUMNS": "140"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_the_commands_check_and_mend(
    service: Services, kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials, tmp_path: Path
) -> None:
    _, arriving = load.season(51, cases=200)
    api = await service("metrics", "api")
    await service("metrics", "worker")
    await send(kafka, topics.case_events, arriving)

    async def all_taken() -> bool:
        return await taken(database.admin_dsn, topics.case_events) == len(arriving)

    await until(all_taken)
    endpoints = {"metrics": api.url, "kafka": kafka, "postgres": database.admin_dsn, "operator_token": credentials.operator_token}
    (tmp_path / "endpoints.json").write_text(json.dumps(endpoints))
    assert await onething(tmp_path, "consistency") == (0, "已按 200 件办件逐项重算,与计数器完全一致。\n")
    connection = await asyncpg.connect(database.admin_dsn)
    await connection.execute(
        "insert into metrics.counters values ('retirement', '130602', '2024-01-01', 7, 0, 0, 0, 0, 0, 0, 0, 0)"
    )
    await connection.close()
    status, said = await onething(tmp_path, "consistency")
    assert status == 1
    for word in ("退休", "竞秀区", "2024-01-01", "办件", " 0 ", " 7 "):
        assert word in said, said
    assert (await onething(tmp_path, "consistency", "--item", "newborn"))[0] == 0
    status, said = await onething(tmp_path, "recount", "--county", "130607")
    assert (status, "满城区" in said, "竞秀区" in said) == (0, True, False), said
    status, said = await onething(tmp_path, "rebuild")
    assert (status, "已改正计数器 1 个" in said) == (0, True), said
    assert "没有改动" in (await onething(tmp_path, "rebuild"))[1]
    status, said = await onething(tmp_path, "recount", "--item", "nothing")
    assert (status, "allowed: enterprise-change" in said) == (1, True), said


async def test_without_a_stack_they_say_so(tmp_path: Path) -> None:
    status, said = await onething(tmp_path, "consistency")
    assert (status, "start one with ./onething up" in said) == (1, True)


@pytest.mark.parametrize("password", ["plain", "a/b:c@d"])
def test_a_roles_dsn_stands_on_the_same_database(password: str) -> None:
    made = role_dsn("postgresql://admin:x@127.0.0.1:8106/onething", "metrics", password)
    assert made.startswith("postgresql://metrics:")
    assert made.endswith("@127.0.0.1:8106/onething")
    assert made.count("@") == 1
