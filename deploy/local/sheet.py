"""``./onething sheet``: an empty sheet, a check without any server, and sending. It speaks to people of a company."""

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.local.caller import given
from deploy.local.client import AGAIN, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, retry_after
from deploy.local.parts import ROOT, StackError
from deploy.local.stack import shown
from deploy.local.state import State
from services.utilities.domain.registry import Pair, Registry, RegistryErrors
from services.utilities.domain.registry_file import read_registry
from services.utilities.domain.sheets.archive import SheetRefused
from services.utilities.domain.sheets.checking import Draft, Everywhere, Issue, draft, in_order, judge_lines
from services.utilities.domain.sheets.layout import MEDIA_TYPE
from services.utilities.domain.sheets.marking import marked as marked_copy
from services.utilities.domain.sheets.reading import read
from services.utilities.domain.sheets.template import template as empty_sheet
from shared.clock import now
from shared.signing import Key

app = typer.Typer(no_args_is_help=True, help="企业报送表:空白模板、报送前检查、报送。")
console = Console()
problems = Console(stderr=True)

SHOWN: Final = 50
"""Errors that are listed; the marked copy has all of them."""

PATIENCE: Final = 8
PIECE: Final = 64 * 1024
NOBODY: Final = "the-company"
"""Stands for the company where a check is not told which one."""

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="填好的报送表(.xlsx)")]
MarkedOption = Annotated[Path | None, typer.Option("--marked", help="有问题时,另存一份标出错处的副本", metavar="OUT.xlsx")]


@app.command(help="保存一份空白报送表。", epilog="Example: ./onething sheet template 报送表.xlsx")
def template(file: Annotated[Path, typer.Argument(metavar="FILE", help="存为哪个文件(.xlsx)")]) -> None:
    """Writes the template."""
    _write(file, empty_sheet())
    console.print(f"已保存空白报送表 {given(file)}", highlight=False, soft_wrap=True)


@app.command(help="检查报送表,不用联网。有问题以1退出。", epilog="Example: ./onething sheet check 报送表.xlsx --marked 标注.xlsx")
def check(
    file: FileArgument,
    company: Annotated[str | None, typer.Option("--company", help="企业编号;给出后连同“企业编号”列一起核对")] = None,
    registry: Annotated[Path | None, typer.Option("--registry", help="企业登记表(.xlsx 或 .csv);给出后核对县和服务")] = None,
    marked: MarkedOption = None,
) -> None:
    """Reads and judges the sheet as the service would, as far as that is known here."""
    by = _registry(registry)
    if registry is not None and company is None:
        raise _left("核对登记表需要知道是哪家企业:请加 --company 企业编号")
    drafted, issues = _checked(_content(file), company, by)
    if issues:
        _show(issues)
        if marked is not None:
            _save_marked(marked, drafted, issues)
        wrong = len({(issue.page, issue.row) for issue in issues})
        raise _left(f"{wrong}行有问题,其余{max(0, drafted.rows - wrong)}行没有发现问题")
    reported = f",另有{drafted.reported}行是“已报”" if drafted.reported else ""
    console.print(f"没有发现问题:{len(drafted.lines) or '没有'}行可以报送{reported}。", highlight=False)
    _say_unread(drafted.unread)
    if registry is None:
        console.print("县和服务是否已登记,要在报送时才能核对(或加 --company 和 --registry)。", highlight=False, soft_wrap=True)


@app.command(help="报送。有一行不对,整份都不收。", epilog="Example: ./onething sheet send 报送表.xlsx --company baoding-gas")
def send(
    file: FileArgument,
    company: Annotated[str, typer.Option("--company", help="企业编号")],
    partial: Annotated[bool, typer.Option("--partial", help="有问题的行先不收,收下其余的行")] = False,
    marked: MarkedOption = None,
    url: Annotated[str | None, typer.Option("--url", help="报送服务的地址,如 https://sheets.example.cn;默认本机的")] = None,
    secret: Annotated[
        str | None, typer.Option("--secret", help="密钥从哪里来:-(标准输入)或 env:变量名;默认本机系统的", metavar="-|env:NAME")
    ] = None,
) -> None:
    """Checks the sheet here first, then sends it, signed, again and again until it is known to be stored."""
    content = _content(file)
    drafted, issues = _checked(content, company, Everywhere(frozenset()))
    if issues and not partial:
        _show(issues)
        if marked is not None:
            _save_marked(marked, drafted, issues)
        raise _left("有问题的行如上,没有报送:改好后再报,或加 --partial 先报没有问题的行")
    address = (url or str(_endpoints()["utilities"])).rstrip("/")
    response = _post(f"{address}/v1/companies/{company}/sheets", {"partial": partial}, _key(company, secret), content)
    _answered(response, drafted, marked)


def _checked(content: bytes, company: str | None, registry: Registry) -> tuple[Draft, list[Issue]]:
    name = company or NOBODY
    columns = (TextColumn("检查报送表"), BarColumn(), MofNCompleteColumn(), TextColumn("行"), TimeElapsedColumn())
    try:
        book = read(content)
        with Progress(*columns, console=problems, transient=True) as progress:
            bar = progress.add_task("", total=sum(len(page.rows) for page in book.pages))
            drafted = draft(book, name, lambda: progress.advance(bar), any_company=company is None)
        at = now()
        judged = judge_lines(drafted.lines, lambda _: at, name, registry, at)
    except SheetRefused as error:
        raise _left(str(error)) from None
    return drafted, in_order([*drafted.issues, *judged.issues])


def _post(url: str, query: Mapping[str, bool], key: Key, content: bytes) -> httpx.Response:
    """Sends the sheet with a bar, again where the answer is that it is not known to be stored."""
    message_id = f"sheet_{hashlib.sha256(content).hexdigest()[:32]}"
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    why = ""
    with httpx.Client(trust_env=False, timeout=60) as client, Progress(*columns, console=problems, transient=True) as progress:
        for attempt in range(PATIENCE):
            bar = progress.add_task("报送" if not attempt else f"重试第{attempt}次", total=len(content))

            def pieces(bar: Any = bar) -> Iterator[bytes]:
                for first in range(0, len(content), PIECE):
                    piece = content[first : first + PIECE]
                    yield piece
                    progress.advance(bar, len(piece))

            stamp = int(now().timestamp())
            headers = {
                "content-type": MEDIA_TYPE, "content-length": str(len(content)), "webhook-id": message_id,
                "webhook-timestamp": str(stamp), "webhook-signature": key.sign(message_id, stamp, content),
            }  # fmt: skip
            wait = min(FIRST_WAIT_SECONDS * 2**attempt, LONGEST_WAIT_SECONDS)
            try:
                response = client.post(url, params={k: str(v).lower() for k, v in query.items()}, content=pieces(), headers=headers)
            except httpx.TransportError as error:
                why = type(error).__name__
            else:
                if response.status_code not in AGAIN:
                    return response
                why = str(response.status_code)
                wait = retry_after(response.headers.get("retry-after"), wait)
            if attempt + 1 < PATIENCE:
                time.sleep(wait)
    raise _left(f"{url} 没有确认收下({why},试了{PATIENCE}次):请稍后再报一次,重复报送不会重复计算")


def _answered(response: httpx.Response, drafted: Draft, marked: Path | None) -> None:
    try:
        told = response.json()
    except ValueError:
        told = {}
    issues = [
        Issue(e["sheet"], e["row"], e["column"], e["cell"], e["message"], e["reason"])
        for e in told.get("errors", [])
        if "sheet" in e
    ]
    if issues:
        _show(issues, told.get("more_errors", 0))
        if marked is not None:
            _save_marked(marked, drafted, issues)
    if response.status_code != httpx.codes.ACCEPTED:
        hint = (
            "密钥不对,或企业编号不对"
            if response.status_code == httpx.codes.UNAUTHORIZED
            else told.get("detail", response.reason_phrase)
        )
        raise _left(f"没有收下({response.status_code}):{hint}")
    words = [f"已收下{told['accepted']}行"]
    if told["repeated"]:
        words.append(f"其中{told['repeated']}行与以前报过的完全相同,不重复计算")
    if told["rejected"]:
        words.append(f"{told['rejected']}行有问题,没有收")
    console.print(",".join(words) + "。", highlight=False)
    for note in told["notes"][:SHOWN]:
        console.print(f"提示:{note['sheet']}第{note['row']}行:{note['message']}", highlight=False, soft_wrap=True, markup=False)
    _say_unread(told["unread"])
    if told["rejected"]:
        raise typer.Exit(1)


def _show(issues: Iterable[Issue], more: int = 0) -> None:
    table = Table("工作表", "行", "列", "单元格")
    table.add_column("问题", overflow="fold")
    listed = list(issues)
    for issue in listed[:SHOWN]:
        table.add_row(issue.page, str(issue.row or ""), issue.column or "", issue.cell or "", escape(issue.message))
    console.print(table)
    if len(listed) + more > SHOWN:
        console.print(f"……共{len(listed) + more}处;加 --marked OUT.xlsx 可得到标出所有错处的副本", highlight=False)


def _say_unread(unread: Iterable[str]) -> None:
    names = "、".join(unread)
    if names:
        console.print(f"没有读取:{names}", highlight=False, soft_wrap=True, markup=False)


def _save_marked(file: Path, drafted: Draft, issues: list[Issue]) -> None:
    _write(file, marked_copy(drafted.book, issues))
    console.print(f"标出错处的副本:{given(file)}", highlight=False, soft_wrap=True)


def _content(file: Path) -> bytes:
    where = given(file)
    try:
        return where.read_bytes()
    except OSError as error:
        raise _left(f"读不到 {where}({error.strerror})") from None


def _write(file: Path, content: bytes) -> None:
    if file.suffix.lower() != ".xlsx":
        raise _left(f"{file.name}:后缀请用 .xlsx")
    try:
        given(file).write_bytes(content)
    except OSError as error:
        raise _left(f"写不了 {given(file)}({error.strerror})") from None


def _registry(file: Path | None) -> Registry:
    if file is None:
        return Everywhere(frozenset())
    try:
        states = read_registry(_content(file)).states
    except RegistryErrors as error:
        raise _left(f"登记表 {file.name} 用不了:{error.errors[0]}") from None
    return Registry(frozenset(Pair(state.county, state.company, state.service) for state in states))


def _key(company: str, secret: str | None) -> Key:
    """The company's key: told, or the local stack's."""
    if secret == "-":  # noqa: S105 -- it says where the secret comes from
        text = sys.stdin.readline().strip()
    elif secret is not None and secret.startswith("env:"):
        text = os.environ.get(secret.removeprefix("env:"), "")
    elif secret is not None:
        raise _left("密钥不要写在命令里:用 --secret -(标准输入)或 --secret env:变量名")
    else:
        found = _endpoints()["companies"].get(company)
        if found is None:
            raise _left(f"本机系统没有企业 {company} 的密钥:请核对编号,或用 --secret 给出;没有密钥的企业请用报送页")
        text = found["secret"]
    try:
        return Key(text)
    except ValueError:
        raise _left("密钥的格式是 whsec_ 加 base64") from None


def _endpoints() -> dict[str, Any]:
    file = State(Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve()).endpoints
    try:
        endpoints: dict[str, Any] = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise _left(
            f"{file.parent} 上没有运行的系统:用 ./onething up 启动,设置 ONETHING_STATE_DIR,或用 --url 和 --secret"
        ) from None
    return endpoints


def _left(why: str) -> typer.Exit:
    problems.print(shown(StackError(why)), highlight=False, soft_wrap=True)
    return typer.Exit(1)
