"""``./onething audit``: who did what, when, in all services, by time. It speaks to people of a bureau."""

import os
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.local import senders_audit
from deploy.local.parts import ROOT, StackError
from deploy.local.stack import shown
from deploy.local.state import State
from shared.audit import MOST_ENTRIES, Entry
from shared.clock import SHANGHAI, now

console = Console()
problems = Console(stderr=True)

PATIENCE_SECONDS: Final = 30.0
DAYS: Final = 30
WIDTH_OF_A_FILE: Final = 200
"""Columns of the list where no terminal says how wide it is."""

ROLES: Final = {"operator": "操作员", "reader": "查看者", "county": "县级查看者", "company": "企业", "command": "命令行"}
ACTIONS: Final = {
    "notice.freeze": "冻结通报",
    "counters.rebuild": "按办件重算计数器",
    "log.rebuild": "从日志重建",
    "page.login": "登录网页",
    "page.link": "发登录链接",
    "page.lock-out": "作废链接和登录",
    "parked.fix": "更正搁置记录",
    "parked.replay": "重放搁置记录",
    "registry.import": "导入企业登记表",
    "registry.export": "导出企业登记表",
    "sheet.upload": "报送表格",
    "snapshots.publish-again": "重发快照",
    "senders.add": "登记推送方",
    "senders.rotate": "换发密钥",
    "senders.drop-old": "停用旧密钥",
}


class Kept(StrEnum):
    """Where an audit is kept."""

    INTAKE = "intake"
    UTILITIES = "utilities"
    METRICS = "metrics"
    SENDERS = senders_audit.SERVICE


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        help="审计记录:谁在什么时候做了什么(冻结、重放、登记、密钥、登录、重建)。",
        epilog="Example: ./onething audit --since 2024-09-01 --service metrics",
    )(audit)


def audit(
    service: Annotated[list[Kept] | None, typer.Option("--service", help="只看这一处;可多次;默认全部")] = None,
    since: Annotated[str | None, typer.Option("--since", help=f"自何时起,如 2024-09-30 或带时区的时间;默认近{DAYS}天")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="每条一行JSON,供程序读取")] = False,
) -> None:
    """Prints the audit of the running stack, the earliest first."""
    begin = _instant(since)
    state = State(Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve())
    found: list[Entry] = []
    for kept in service or list(Kept):
        found += _of_senders(state, begin) if kept is Kept.SENDERS else _of_service(state, kept, begin)
    found.sort(key=lambda entry: (entry.at, entry.service, entry.id))
    if as_json:
        for entry in found:
            typer.echo(entry.model_dump_json())
        return
    table = Table("时间", "服务", "身份", "经办", "事项", "对象", "说明", title=f"审计记录 {len(found)} 条", title_justify="left")
    for entry in found:
        table.add_row(
            f"{entry.at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}", entry.service, ROLES.get(entry.role, entry.role),
            escape(entry.who), ACTIONS.get(entry.action, entry.action), escape(entry.subject), escape(_told(entry.detail)),
        )  # fmt: skip
    out = console if console.is_terminal else Console(width=WIDTH_OF_A_FILE)
    out.print(table)


def _told(detail: dict[str, Any]) -> str:
    # A digest's beginning is enough to tell two apart; --json has it whole.
    short = {name: f"{value[:12]}…" if name == "sha256" else value for name, value in detail.items()}
    told = {name: orjson.dumps(value).decode() if isinstance(value, dict | list) else value for name, value in short.items()}
    return " ".join(f"{name}={value}" for name, value in told.items())


def _of_service(state: State, kept: Kept, since: datetime) -> Iterator[Entry]:
    """A service's entries, page by page; leaves with a sentence where it refuses or is away."""
    try:
        endpoints = orjson.loads(state.endpoints.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise _left(f"系统没有在 {state.folder} 运行:请先用 ./onething up 启动,或设置 ONETHING_STATE_DIR") from None
    after: int | None = 0
    headers = {"Authorization": f"Bearer {endpoints['operator_token']}"}
    with httpx.Client(base_url=endpoints[kept], headers=headers, trust_env=False, timeout=PATIENCE_SECONDS) as client:
        while after is not None:
            try:
                answer = client.get("/v1/audit", params={"after": after, "since": since.isoformat(), "limit": MOST_ENTRIES})
                answer.raise_for_status()
            except httpx.HTTPStatusError:
                raise _left(f"{kept} 应答 {answer.status_code}:请看 {kept} api 的日志") from None
            except httpx.TransportError as error:
                raise _left(f"{endpoints[kept]} 没有应答({type(error).__name__}):请看 {kept} api 的日志") from None
            trail = answer.json()
            yield from map(Entry.model_validate, trail["entries"])
            after = trail["next"]


def _of_senders(state: State, since: datetime) -> Iterator[Entry]:
    try:
        entries = senders_audit.read(state.senders)
    except OSError as error:
        raise _left(f"{senders_audit.file_of(state.senders)} 读不出:{error.strerror}") from None
    yield from (entry for entry in entries if entry.at >= since)


def _instant(given: str | None) -> datetime:
    if given is None:
        return now() - timedelta(days=DAYS)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise _left(f"“{given}”不是时间:请写成 2024-09-30 或 2024-09-30T09:00:00+08:00") from None
    return moment if moment.tzinfo else datetime.combine(moment.date(), moment.time() or time(), SHANGHAI)


def _left(why: str) -> typer.Exit:
    problems.print(shown(StackError(why)), highlight=False, soft_wrap=True)
    return typer.Exit(1)
