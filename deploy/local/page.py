"""``./onething page``: an address of the running stack's page that logs in once."""

import os
from pathlib import Path
from typing import Any

import orjson
import typer
from rich.console import Console

from deploy.local.parts import ROOT
from services.metrics.domain.sessions import mint_link
from shared.clock import now

console = Console()
problems = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(epilog="Example: ./onething page")(page)


def login_address(endpoints: dict[str, Any]) -> str:
    """Where the page is reached without a token: works once, within an hour."""
    return f"{endpoints['metrics']}/login?link={mint_link(endpoints['reader_token'], now())}"


def page() -> None:
    """Print an address that opens the running stack's page, logged in; it works once, within an hour."""
    folder = Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve()
    try:
        endpoints = orjson.loads((folder / "endpoints.json").read_bytes())
    except FileNotFoundError:
        problems.print("[red]✗[/red] 系统没有在运行:请先运行 ./onething up 或 ./onething demo。", highlight=False)
        raise typer.Exit(1) from None
    console.print("打开下面的地址即可查看监测页(只能用一次,一小时内有效):")
    console.print(login_address(endpoints), highlight=False, soft_wrap=True)
