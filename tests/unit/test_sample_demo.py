"""The demo where it cannot succeed: it says in one sentence what is wrong and what to do, and answers false."""

import base64
import io
from typing import Any

import pytest
from rich.console import Console

from deploy.local import client, demo
from deploy.local.parts import free_ports
from deploy.local.sample import season, utilities

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


@pytest.fixture
def endpoints() -> dict[str, Any]:
    """Complete, but nobody listens there."""
    ports = free_ports()
    return {
        **{service: f"http://127.0.0.1:{next(ports)}" for service in ("intake", "utilities", "metrics")},
        "kafka": f"127.0.0.1:{next(ports)}",
        "senders": {demo.SENDER: {"secret": SECRET, "source": season.SOURCE}},
        "companies": {pair.company: {"secret": SECRET} for pair in utilities.read_registry()},
        "reader_token": "a token",
    }


async def told(endpoints: dict[str, Any]) -> tuple[bool, str]:
    out = io.StringIO()
    return await demo.run_demo(endpoints, Console(file=out, width=400)), out.getvalue()


async def test_nobody_listens(endpoints: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.0)
    done, text = await told(endpoints)
    assert not done
    assert "推送没有完成" in text
    assert f"ConnectError after {demo.PATIENCE} attempts; see the service's log, then push again" in text
    assert SECRET not in text


async def test_a_company_without_a_secret_is_named(endpoints: dict[str, Any]) -> None:
    del endpoints["companies"]["baoding-gas"]
    done, text = await told(endpoints)
    assert not done
    assert "baoding-gas" in text
    assert "请删除状态目录后重新启动" in text
