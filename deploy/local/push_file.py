"""``./onething push FILE``: a ready client for senders: signs, batches, sends again, goes on where it stopped."""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.local.client import PushClient, PushError
from deploy.local.parts import ROOT
from deploy.local.push_items import MOST_ITEMS, FileError, Item, batches, read_items
from deploy.local.push_journal import Journal
from deploy.local.state import SENDER, State

PATIENCE: Final = 60
"""Attempts at one batch: with waits of up to half a minute, about half an hour of an outage."""

REASONS: Final[Mapping[str, str]] = {
    "unknown-county": "区划不在本市名录内",
    "unknown-item": "事项代码不在目录内",
    "unknown-code": "代码表里没有这个代码",
    "unknown-table": "不接收这张表",
    "not-entitled": "不是本发送方的来源或事项",
    "future": "时间在未来",
    "malformed": "格式不对",
    "invalid": "内容不对",
    "personal-data": "编号是个人证件号或电话",
}

console = Console()
problems = Console(stderr=True)


class Target(NamedTuple):
    """Where a file goes: the address, the secret that signs, and the source of events that are made of CSV lines."""

    url: str
    secret: str
    source: str


def register(app: typer.Typer) -> None:
    """Adds the command to ``app``."""
    app.command(epilog="Example: ./onething push events.jsonl --sender sandbox")(push)


def push(
    file: Annotated[Path, typer.Argument(help="JSON lines, a JSON array, an exchange-table body, or CSV of case events.")],
    sender: Annotated[str, typer.Option(help="Who pushes: the sender's id.")] = SENDER,
    company: Annotated[str | None, typer.Option(help="Push as this utility company instead.")] = None,
    url: Annotated[str | None, typer.Option(help="Base address of the receiver; default: the local stack's.")] = None,
    secret_file: Annotated[Path | None, typer.Option(help="File with the secret (whsec_…); default: the local stack's.")] = None,
    source: Annotated[str | None, typer.Option(help="Source of events made of CSV lines; default: the local sender's.")] = None,
    batch: Annotated[int, typer.Option(help="Events a request.", min=1, max=1000)] = MOST_ITEMS,
    again: Annotated[
        bool, typer.Option("--again", help="Begin anew, also what was answered for; sending twice changes nothing.")
    ] = False,
) -> None:
    """Push a file's events, signed and in batches; run again after Ctrl-C, it goes on where it stopped."""
    try:
        target = _target(sender, company, url, secret_file, source)
        journal = asyncio.run(_pushed(file, target, batch, again))
    except (FileError, PushError) as error:
        problems.print(f"[red]✗[/red] {_shown(error)}", highlight=False, soft_wrap=True)
        if isinstance(error, PushError):
            problems.print("  再执行同一命令即从中断处继续;重复推送不会重复计数。", highlight=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        problems.print("已中断:再执行同一命令即从中断处继续。", highlight=False)
        raise typer.Exit(130) from None
    _summary(journal)
    raise typer.Exit(1 if journal.rejected_items else 0)


async def _pushed(file: Path, target: Target, batch: int, again: bool) -> Journal:
    items: Iterator[Item] = read_items(file, target.source)
    journal = Journal.opened(file, target.url, items, anew=again)
    if not journal.resumed:
        items = read_items(file, target.source)
    else:
        console.print(f"上次已推送 {journal.resumed} 条,从第 {journal.resumed + 1} 条继续。", highlight=False)
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=problems, transient=True) as progress:
        task = progress.add_task("推送", total=None, completed=journal.items)
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            client = PushClient(
                http, target.url, target.secret, patience=PATIENCE, on_wait=lambda why: progress.update(task, description=why)
            )
            for each in batches(items, batch):
                answered = await client.send(each.body(), each.media_type)
                journal.note(each, answered)
                progress.update(
                    task, completed=journal.items, description=f"推送 · 接收 {journal.accepted} · 退回 {journal.rejected_items}"
                )
    journal.tidy()
    return journal


def _target(sender: str, company: str | None, url: str | None, secret_file: Path | None, source: str | None) -> Target:
    """Raises a :class:`FileError` where no stack runs here and what it would tell is not given."""
    party, kind = (company, "companies") if company else (sender, "senders")
    known: dict[str, Any] = {}
    if url is None or secret_file is None or source is None:
        known = _endpoints()
    base = url or known.get("utilities" if company else "intake")
    entry = known.get(kind, {}).get(party, {})
    secret = _secret(secret_file) if secret_file else entry.get("secret")
    if not base:
        raise FileError("本机没有运行中的服务:请用 --url 给出接收地址(或先执行 ./onething up)")
    if not secret:
        raise FileError(f"本机没有 {party} 的密钥:请用 --secret-file 给出密钥文件")
    address = base if "/v1/" in base else f"{base.rstrip('/')}/v1/{kind}/{party}/events"
    return Target(address, secret, source or entry.get("source", f"urn:onething:sender:{party}"))


def _endpoints() -> dict[str, Any]:
    folder = Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve()
    try:
        found: dict[str, Any] = json.loads(State(folder).endpoints.read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def _secret(file: Path) -> str:
    from shared.signing import Key

    try:
        text = file.read_text("utf-8").strip()
        Key(text)
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"密钥文件 {file} 读不了({type(error).__name__})") from None
    except ValueError:
        raise FileError(f"密钥文件 {file} 里不是 whsec_ 开头的密钥") from None
    return text


def _shown(error: Exception) -> str:
    if isinstance(error, FileError):
        return str(error)
    return f"没有推送完:{error}"


def _summary(journal: Journal) -> None:
    mark = "[yellow]![/yellow]" if journal.rejected_items else "[green]✓[/green]"
    console.print(f"{mark} 共 {journal.items} 条:接收 {journal.accepted},退回 {journal.rejected_items}", highlight=False)
    if journal.receipts.exists():
        console.print(f"  回执:{journal.receipts}(./onething receipt verify 可离线核验)", highlight=False, soft_wrap=True)
    if journal.rejected_items:
        table = Table("原因", "说明", "条数")
        for reason, count in sorted(journal.reasons.items(), key=lambda each: -each[1]):
            table.add_row(reason, REASONS.get(reason, ""), str(count))
        console.print(table)
        console.print(f"  逐条原因:{journal.rejected};改正后可直接推送该文件", highlight=False, soft_wrap=True)
