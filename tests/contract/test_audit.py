"""The audit of each service, by its route and by ``./onething audit``."""

import asyncio
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from typer.testing import CliRunner

from deploy.local import senders_audit
from deploy.local.__main__ import app
from services.utilities.handlers import page, registry
from shared.audit import whoever_runs_this
from tests.conftest import Credentials, Services, TestDatabase
from tests.utilities_support import REGISTRY, pool_of


async def command(*arguments: str) -> tuple[int, str]:
    # In a thread: the commands have event loops of their own.
    result = await asyncio.to_thread(lambda: CliRunner().invoke(app, list(arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


async def test_who_did_what_is_told_by_each_service_and_by_one_command(
    service: Services, database: TestDatabase, credentials: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = datetime.now(UTC)
    started = await asyncio.gather(*(service(name, "api") for name in ("intake", "utilities", "metrics")))
    urls = dict(zip(("intake", "utilities", "metrics"), (one.url for one in started), strict=True))
    operator = {"authorization": f"Bearer {credentials.operator_token}"}
    monkeypatch.setenv("ONETHING_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "endpoints.json").write_bytes(
        orjson.dumps({**urls, "operator_token": credentials.operator_token, "senders": {}, "companies": {}})
    )

    # What is done.
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        done = await client.post(f"{urls['metrics']}/v1/rebuild", headers=operator | {"onething-operator": "zhang.san"})
        assert done.status_code == 200, done.text
        named = await client.post(f"{urls['metrics']}/v1/rebuild", headers=operator | {"onething-operator": "13931278460"})
        assert named.status_code == 200, named.text
        login = await client.post(f"{urls['metrics']}/session", data={"token": credentials.operator_token})
        assert login.status_code == 303, login.text
        assert (await client.post(f"{urls['metrics']}/session", data={"token": "wrong"})).status_code == 403
    async with pool_of(database.dsn("utilities")) as pool:
        await registry.import_registry(pool, REGISTRY.encode(), datetime.now(UTC), dry_run=True, who="nobody")
        await registry.import_registry(pool, REGISTRY.encode(), datetime.now(UTC), who="li.si")
        await registry.export_registry(pool, datetime.now(UTC), "li.si")
        token, _ = await page.make_link(pool, "gas-1", datetime.now(UTC), 2, "li.si")
        assert await page.log_in(pool, token, datetime.now(UTC))
        await page.lock_out(pool, "gas-1", datetime.now(UTC), "li.si")
    assert (await command("senders", "add", "credit", "--source", "urn:x"))[0] == 0
    assert (await command("senders", "rotate", "credit"))[0] == 0
    assert (await command("senders", "rotate", "credit", "--drop-old"))[0] == 0

    # It is told by the services, page by page, to the operator alone.
    me = whoever_runs_this()
    expected: dict[str, list[tuple[str, str, str, str]]] = {
        "intake": [],
        "utilities": [
            ("command", "li.si", "registry.import", "registry"),
            ("command", "li.si", "registry.export", "registry"),
            ("command", "li.si", "page.link", "gas-1"),
            ("company", "gas-1", "page.login", "page"),
            ("command", "li.si", "page.lock-out", "gas-1"),
        ],
        "metrics": [
            ("operator", "zhang.san", "counters.rebuild", "cases"),
            ("operator", "operator", "counters.rebuild", "cases"),
            ("operator", "operator", "page.login", "page"),
        ],
        "senders": [("command", me, f"senders.{done}", "credit") for done in ("add", "rotate", "drop-old")],
    }
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for name, url in urls.items():
            found: list[dict[str, Any]] = []
            after: int | None = 0
            while after is not None:
                answer = await client.get(f"{url}/v1/audit", params={"after": after, "limit": 2}, headers=operator)
                assert answer.status_code == 200, answer.text
                found += answer.json()["entries"]
                after = answer.json()["next"]
            assert [(e["role"], e["who"], e["action"], e["subject"]) for e in found] == expected[name]
            assert all(e["service"] == name and begun <= datetime.fromisoformat(e["at"]) for e in found)
            later = {"since": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
            assert (await client.get(f"{url}/v1/audit", params=later, headers=operator)).json() == {"entries": [], "next": None}
            assert (await client.get(f"{url}/v1/audit")).status_code == 401
            reader = {"authorization": f"Bearer {credentials.reader_token}"}
            assert (await client.get(f"{url}/v1/audit", headers=reader)).status_code in (401, 403)
            for wrong in ({"since": "2024-09-30T09:00:00"}, {"limit": 0}, {"limit": 1001}, {"after": -1}, {"since": "x"}):
                refused = await client.get(f"{url}/v1/audit", params=wrong, headers=operator)
                assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, f"/query/{next(iter(wrong))}")

    # The command has all of it, by time.
    status, said = await command("audit", "--json")
    assert status == 0, said
    entries = [json.loads(line) for line in said.splitlines()]
    assert [e["at"] for e in entries] == sorted(e["at"] for e in entries)
    for name, of_service in expected.items():
        assert [(e["role"], e["who"], e["action"], e["subject"]) for e in entries if e["service"] == name] == of_service
    status, said = await command("audit", "--service", "senders", "--service", "metrics")
    assert status == 0
    assert all(word in said for word in ("审计记录 6 条", "按办件重算计数器", "登录网页", "换发密钥", "停用旧密钥", "credit")), said
    assert "导入企业登记表" not in said
    assert "审计记录 0 条" in (await command("audit", "--since", "2999-01-01"))[1]
    status, said = await command("audit", "--since", "gestern")
    assert (status, "不是时间" in said) == (1, True)
    (tmp_path / "endpoints.json").unlink()
    status, said = await command("audit")
    assert (status, "系统没有在" in said) == (1, True)

    # Nobody takes anything back, and no key is in it.
    for name in ("intake", "utilities", "metrics"):
        connection = await asyncpg.connect(database.dsn(name))
        try:
            for statement in ("delete from audit", "update audit set who = ''", "truncate audit"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        finally:
            await connection.close()
    senders = tmp_path / "senders.json"
    kept = senders_audit.file_of(senders)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "whsec_" not in kept.read_text()
    assert json.loads(senders.read_text())["credit"]["secrets"][0] not in kept.read_text()
    kept.write_bytes(kept.read_bytes() + b'{"id": 4, "cut')
    assert [entry.id for entry in senders_audit.read(senders)] == [1, 2, 3], "a line that a crash cut is passed over"
