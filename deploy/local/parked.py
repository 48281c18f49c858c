"""``./onething parked``: what could not be used is listed, shown, corrected and replayed, on the running stack."""

import getpass
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.syntax import Syntax
from rich.table import Table

from deploy.local.caller import given
from deploy.local.parts import ROOT, StackError
from deploy.local.stack import shown
from deploy.local.state import State
from deploy.local.upkeep import MEASURES
from shared import counties, items
from shared.clock import SHANGHAI

PATIENCE_SECONDS: Final = 60.0
PAGE: Final = 500
LONGEST: Final = 60
"""Of what is wrong, in a list; `show` has it whole."""
WIDTH_OF_A_FILE: Final = 200
"""Columns of the list where no terminal says how wide it is."""
AT_ONCE: Final = 200
"""Records in one request; a case's are never parted, so that a rehearsal counts them together."""

STATES: Final = {"open": "待处理", "fixed": "已更正", "resent": "已重报", "replayed": "已重放"}
STATUSES: Final = {
    "replayed": "已重放", "would-replay": "可重放", "already-replayed": "此前已重放", "refused": "不能重放", "unknown": "查无此条",
}  # fmt: skip
ACTIONS: Final = {"fixed": "更正", "replayed": "重放"}

app = typer.Typer(no_args_is_help=True)
console = Console()
problems = Console(stderr=True)

Reason = Annotated[str | None, typer.Option("--reason", help="只看这一原因,如 unknown-county")]
Service = Annotated[str | None, typer.Option("--service", help="intake、utilities 或 metrics")]
Sender = Annotated[str | None, typer.Option("--sender", help="推送方代码")]
Since = Annotated[str | None, typer.Option("--since", help="此时间以后搁置的,如 2024-09-30 或 2024-09-30T09:00:00+08:00")]
Id = Annotated[str, typer.Argument(metavar="ID", help="搁置记录编号(parked list 第一列,可只写前几位)")]


@app.callback(help="查看、更正、重放不能使用的事件(搁置记录)。")
def parked() -> None:
    """The group; its help stands above."""


@app.command("list", help="列出搁置记录,新的在前。", epilog="Example: ./onething parked list --reason unknown-county")
def list_parked(
    reason: Reason = None,
    service: Service = None,
    sender: Sender = None,
    since: Since = None,
    everything: Annotated[bool, typer.Option("--everything", help="也列出已重放、已重报的")] = False,
    most: Annotated[int, typer.Option("--most", min=1, help="最多列几条")] = 50,
) -> None:
    """The newest parked records that still want somebody."""
    wanted = _wanted(reason, service, sender, since) | ({} if everything else {"state": "todo"})
    with _asking() as client:
        answer = _ask(client, "GET", "/v1/parked", params={**wanted, "limit": min(most, PAGE)})
    table = Table(title=f"搁置记录 {answer['count']} 条", title_justify="left")
    for name in ("编号", "状态", "时间", "服务", "原因", "推送方", "事件", "办件", "问题"):
        table.add_column(name, overflow="fold", no_wrap=name in ("编号", "状态"))
    for row in answer["parked"]:
        wrong = row["errors"][0] if row["errors"] else {"pointer": "", "message": ""}
        what = f"{wrong['pointer']} {wrong['message']}".strip()[:LONGEST]
        table.add_row(
            row["id"][:12], STATES[row["state"]], _local(row["parked_at"])[5:-3], row["service"], row["reason"],
            row["sender"] or "", row["event_id"] or "", row["case_no"] or "", escape(what),
        )  # fmt: skip
    out = console if console.is_terminal else Console(width=WIDTH_OF_A_FILE)
    out.print(table)
    if answer["count"] > len(answer["parked"]):
        console.print(f"列出了其中 {len(answer['parked'])} 条;--most 可多列。", highlight=False)


@app.command(help="显示一条搁置记录:原因、留下的内容、更正、经办。", epilog="Example: ./onething parked show 3f2a9c")
def show(parked_id: Id) -> None:
    """One parked record with all that is known of it."""
    with _asking() as client:
        found = _ask(client, "GET", f"/v1/parked/{_full(client, parked_id)}")
    console.print(
        f"[bold]{found['id']}[/bold] · {STATES[found['state']]} · {_local(found['parked_at'])} · {found['reason']}", highlight=False
    )
    console.print(
        f"来源 {escape(found['origin'])} · {found['length']} 字节 · {found['digest'] or ''}", highlight=False, soft_wrap=True
    )
    for error in found["errors"]:
        console.print(f"  {escape(error['pointer'] or '(整条)')}  {escape(error['message'])}", highlight=False, soft_wrap=True)
    if found["payload"] is not None:
        console.print("留下的内容(个人信息已去除):")
        console.print(_json(found["payload"]))
    if found["events"] is not None:
        console.print("更正为:")
        console.print(_json(found["events"]))
    for line in found["audit"]:
        console.print(f"  {_local(line['at'])} {escape(line['who'])} {ACTIONS[line['action']]}", highlight=False)


@app.command(
    help="用文件中的事件更正一条搁置记录:编号和记录时间保持不变,立即按推送时的规则检查。",
    epilog="Example: ./onething parked fix 3f2a9c corrected.json",
)
def fix(
    parked_id: Id,
    file: Annotated[Path, typer.Argument(help="更正后的事件(JSON),或表格行、事件数组")],
) -> None:
    """Keeps a correction; leaves with 1 and the places that are wrong when it cannot be used."""
    try:
        content = orjson.loads(given(file).read_bytes())
    except OSError as error:
        raise _left(f"{file}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise _left(f"{file} 不是JSON:第 {error.lineno} 行第 {error.colno} 列 {error.msg}") from None
    with _asking() as client:
        made = _ask(client, "POST", f"/v1/parked/{_full(client, parked_id)}/fix", json=content)
    console.print("更正已保存,尚未重放。将发布:")
    console.print(_json(made["events"]))
    console.print(f"先看影响:./onething parked replay {made['id'][:12]} --dry-run", highlight=False)


@app.command(
    help="重放搁置记录:按推送时的规则再检查一次,发布到办件事件。重放两次与一次相同。",
    epilog="Example: ./onething parked replay --all --reason unknown-county --dry-run",
)
def replay(
    parked_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="搁置记录编号")] = None,
    everything: Annotated[bool, typer.Option("--all", help="所有待处理和已更正的,可加 --reason 等条件")] = False,
    reason: Reason = None,
    service: Service = None,
    sender: Sender = None,
    since: Since = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只看哪些计数会变、变多少,什么也不改")] = False,
) -> None:
    """Replays, a case's events in their order; leaves with 1 when some cannot be."""
    wanted = _wanted(reason, service, sender, since)
    if bool(parked_ids) == everything or (parked_ids and wanted):
        raise _left("写明编号,或用 --all(可加 --reason、--service、--sender、--since)")
    results: list[dict[str, Any]] = []
    moved: Counter[tuple[str, str, str, str]] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _asking() as client, Progress(*columns, console=problems, transient=True, disable=not problems.is_terminal) as progress:
        rows = list(_all(client, wanted, progress)) if everything else [{"id": _full(client, one)} for one in parked_ids or []]
        task = progress.add_task("核算影响" if dry_run else "重放", total=len(rows))
        for chunk in in_chunks(rows):
            answer = _ask(client, "POST", "/v1/parked/replay", params={"dry_run": dry_run}, json={"ids": chunk})
            results += answer["results"]
            for delta in answer.get("deltas", []):
                moved[delta["item"], delta["county"], delta["day"], delta["measure"]] += delta["delta"]
            progress.update(task, advance=len(chunk))
    _tell(results, moved, dry_run)
    if any(result["status"] in ("refused", "unknown") for result in results):
        raise typer.Exit(1)


def in_chunks(rows: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """The ids of ``rows`` in the order of their cases, some two hundred at a time, a case's together as far as a request goes."""

    def place(row: dict[str, Any]) -> tuple[str, str]:
        return row.get("sender") or "", row.get("case_no") or f"\0{row['id']}"

    def recorded(row: dict[str, Any]) -> datetime:
        given_at = row.get("recorded_at")
        return datetime.fromisoformat(given_at) if given_at else datetime.max.replace(tzinfo=UTC)

    chunk: list[str] = []
    for _, of_case in groupby(sorted(rows, key=lambda row: (place(row), recorded(row))), key=place):
        ids = [row["id"] for row in of_case]
        if chunk and len(chunk) + len(ids) > AT_ONCE:
            yield chunk
            chunk = []
        chunk += ids
        while len(chunk) >= PAGE:
            yield chunk[:PAGE]
            chunk = chunk[PAGE:]
    if chunk:
        yield chunk


def _all(client: httpx.Client, wanted: dict[str, str], progress: Progress) -> Iterator[dict[str, Any]]:
    """All parked records that still want somebody, page by page."""
    task, after = progress.add_task("读取搁置记录", total=None), None
    while True:
        page = _ask(
            client, "GET", "/v1/parked", params={**wanted, "state": "todo", "limit": PAGE} | ({"after": after} if after else {})
        )
        yield from page["parked"]
        progress.update(task, advance=len(page["parked"]), total=page.get("count"))
        if (after := page["next"]) is None:
            return


def _tell(results: Sequence[dict[str, Any]], moved: Counter[tuple[str, str, str, str]], dry_run: bool) -> None:
    counts = Counter(result["status"] for result in results)
    console.print(" · ".join(f"{STATUSES[status]} {n} 条" for status, n in counts.items()) or "没有要重放的记录", highlight=False)
    refused = Counter(
        (result["problem"]["type"].rpartition(":")[2], error["pointer"], error["message"])
        for result in results
        if result["status"] == "refused"
        for error in result["problem"]["errors"][:1]
    )
    for (reason, pointer, message), n in refused.most_common():
        console.print(f"  {n} 条 {reason} {escape(pointer)} {escape(message)}", highlight=False, soft_wrap=True)
    changes = sorted((cell, n) for cell, n in moved.items() if n)
    if changes:
        table = Table("事项", "县(市、区)", "日期", "指标", title="重放后计数变化", title_justify="left")
        table.add_column("变化", justify="right")
        for (item, county, day, measure), n in changes:
            known, unit = items.BY_CODE.get(item), counties.BY_CODE.get(county)
            table.add_row(known.name if known else item, unit.name if unit else county, day, MEASURES[measure], f"{n:+d}")
        console.print(table)
    elif dry_run:
        console.print("计数不会变化。", highlight=False)


def _wanted(reason: str | None, service: str | None, sender: str | None, since: str | None) -> dict[str, str]:
    given_ones = {"reason": reason, "service": service, "sender": sender, "since": _instant(since) if since else None}
    return {name: value for name, value in given_ones.items() if value is not None}


def _instant(text: str) -> str:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _left(f"--since {text}:应为日期或时间,如 2024-09-30 或 2024-09-30T09:00:00+08:00") from None
    return (at if at.tzinfo else at.replace(tzinfo=SHANGHAI)).isoformat()


def _local(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def _json(content: Any) -> Syntax:
    return Syntax(json.dumps(content, ensure_ascii=False, indent=2), "json", background_color="default", word_wrap=True)


def _left(why: str) -> typer.Exit:
    problems.print(shown(StackError(why)), highlight=False, soft_wrap=True)
    return typer.Exit(1)


def _asking() -> httpx.Client:
    """A client of the running stack's intake, as the operator; leaves with a sentence when none runs."""
    folder = Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve()
    try:
        endpoints = orjson.loads(State(folder).endpoints.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise _left(f"{folder} 上没有运行的系统:先执行 ./onething up,或用 ONETHING_STATE_DIR 指明目录") from None
    who = re.sub(r"[^A-Za-z0-9._@-]", "_", getpass.getuser())[:64]
    headers = {"authorization": f"Bearer {endpoints['operator_token']}", "onething-operator": who}
    return httpx.Client(base_url=endpoints["intake"], headers=headers, trust_env=False, timeout=PATIENCE_SECONDS)


def _full(client: httpx.Client, parked_id: str) -> str:
    """The id that ``parked_id`` begins; leaves when none or several do."""
    if not re.fullmatch("[0-9a-f]{4,32}", parked_id):
        raise _left(f"{escape(parked_id)} 不是搁置记录编号:应为4到32位的0-9a-f")
    if len(parked_id) == 32:
        return parked_id
    found: list[str] = [row["id"] for row in _ask(client, "GET", "/v1/parked", params={"begins": parked_id, "limit": 2})["parked"]]
    if len(found) != 1:
        raise _left(f"没有以 {parked_id} 开头的搁置记录" if not found else f"以 {parked_id} 开头的不止一条:多写几位")
    return found[0]


def _ask(client: httpx.Client, method: str, path: str, **content: Any) -> Any:
    """Asks intake; leaves with its own words when it refuses."""
    try:
        answer = client.request(method, path, **content)
    except httpx.TransportError as error:
        raise _left(f"{client.base_url} 没有应答({type(error).__name__}):看 intake api 的日志") from None
    if answer.is_success:
        return answer.json()
    said = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    lines: Iterable[str] = (f"\n  {error['pointer'] or '(整条)'}  {error['message']}" for error in said.get("errors", []))
    raise _left(f"{said.get('detail') or f'{path} {answer.status_code}'}{''.join(lines)}")
