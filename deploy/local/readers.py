"""``./onething readers``: who reads besides the two tokens of ``endpoints.json``, each by a token that is shown once."""

import os
import secrets
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from deploy.local.parts import ROOT, StackError
from deploy.local.stack import shown
from deploy.local.state import State, read_json, write_private
from services.metrics.domain.access import SCOPES
from services.metrics.domain.readers import ReadersFileError
from services.metrics.domain.sessions import digest
from services.metrics.settings import read_readers
from shared import counties

app = typer.Typer(no_args_is_help=True, help="Who may read the figures: add readers, exchange their tokens, remove them.")
console = Console()
problems = Console(stderr=True)

WORDS: Final = {"reader": "全市", "county": "本县(市、区)明细和全市合计", "operator": "全市,并可操作"}

FileOption = Annotated[Path | None, typer.Option("--file", help="The readers' file; default: the local stack's.")]
NameArgument = Annotated[str, typer.Argument(help="The reader's name, as the audit shows it, e.g. mancheng.")]


@app.command(epilog="Example: ./onething readers add mancheng --scope county --county 130607")
def add(
    name: NameArgument,
    scope: Annotated[str, typer.Option(help="reader (all figures), county (its own, and the city's totals), operator.")] = "reader",
    county: Annotated[str | None, typer.Option(help="With --scope county: the county's code, e.g. 130607.")] = None,
    file: FileOption = None,
) -> None:
    """Add a reader, and show its token once."""
    where, readers = _opened(file, new=True)
    if name in readers:
        raise _left(f"{where} 里已有 {name}:换令牌用 ./onething readers rotate {name}")
    if scope not in SCOPES:
        raise _left(f"--scope 应为 {'、'.join(SCOPES)} 之一")
    if (scope == "county") != (county is not None):
        raise _left("县级账号要写 --county 加县(市、区)代码,其他账号不写,例如 --scope county --county 130607")
    token = secrets.token_urlsafe(32)
    entry: dict[str, Any] = {"token_sha256": [digest(token)], "scope": scope}
    if county is not None:
        try:
            entry["county"] = counties.normalise(county).code
        except counties.UnknownCounty:
            known = "、".join(f"{unit.code} {unit.name}" for unit in counties.ROSTER)
            raise _left(f"名册中没有 {county};可用的有:{known}") from None
    _save(where, readers | {name: entry})
    of = f",{counties.BY_CODE[entry['county']].name}" if county is not None else ""
    console.print(f"已登记 {name}({WORDS[scope]}{of}),运行中的服务会在 1 秒内读到。", highlight=False, soft_wrap=True)
    _show(name, token)


@app.command(epilog="Example: ./onething readers rotate mancheng; later: ./onething readers rotate mancheng --drop-old")
def rotate(
    name: NameArgument,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Keep the newest token alone; makes no new one.")] = False,
    file: FileOption = None,
) -> None:
    """Give a reader a new token beside the old ones, which stay valid until --drop-old."""
    where, readers = _opened(file)
    entry = _entry(where, readers, name)
    known: list[str] = entry["token_sha256"]
    if drop_old:
        if len(known) == 1:
            raise _left(f"{name} 只有一个令牌,没有旧令牌可去掉;先用 ./onething readers rotate {name} 换新")
        _save(where, readers | {name: entry | {"token_sha256": known[:1]}})
        console.print(f"{name} 的 {len(known) - 1} 个旧令牌已去掉,用它们登录的页面也随即退出。", highlight=False, soft_wrap=True)
        return
    token = secrets.token_urlsafe(32)
    _save(where, readers | {name: entry | {"token_sha256": [digest(token), *known]}})
    console.print(
        f"{name} 现有 {len(known) + 1} 个有效令牌,新旧都接受。改用新令牌后,执行 ./onething readers rotate {name} --drop-old",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    _show(name, token)


@app.command(epilog="Example: ./onething readers remove mancheng")
def remove(name: NameArgument, file: FileOption = None) -> None:
    """Remove a reader; its tokens and the sessions of them open nothing within a second."""
    where, readers = _opened(file)
    _entry(where, readers, name)
    _save(where, {other: entry for other, entry in readers.items() if other != name})
    console.print(f"{name} 已删除,它的令牌和登录在 1 秒内失效。", highlight=False)


@app.command("list", epilog="Example: ./onething readers list")
def list_(file: FileOption = None) -> None:
    """List the readers; tokens are kept nowhere, only a short print of each is shown."""
    where, readers = _opened(file)
    table = Table("名称", "可以看什么", "县(市、区)", "令牌指纹", title=f"{where} 里登记的账号", title_justify="left")
    for name, entry in sorted(readers.items()):
        unit = counties.BY_CODE.get(entry.get("county") or "")
        prints = "、".join(one[:8] for one in entry["token_sha256"])
        table.add_row(name, WORDS[entry["scope"]], f"{unit.name} {unit.code}" if unit else "—", prints)
    console.print(table)


def _opened(file: Path | None, *, new: bool = False) -> tuple[Path, dict[str, Any]]:
    where = file or State(Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve()).readers
    try:
        readers = read_json(where)
        if readers:
            read_readers(where)
    except (StackError, ReadersFileError) as error:
        raise _left(str(error)) from None
    if readers is None:
        if not new or file is None:
            raise _left(f"没有 {where}:先用 ./onething up 启动一次,或用 --file 指明登记账号的文件")
        readers = {}
    return where, readers


def _entry(where: Path, readers: dict[str, Any], name: str) -> dict[str, Any]:
    entry = readers.get(name)
    if not isinstance(entry, dict):
        raise _left(f"{where} 里没有 {name};已登记的有:{'、'.join(sorted(readers)) or '(无)'}")
    return entry


def _save(where: Path, readers: dict[str, Any]) -> None:
    """Writes the file when the service would take it."""
    fresh = where.with_name(f".{where.name}.check")
    try:
        write_private(fresh, readers)
        read_readers(fresh)
        fresh.replace(where)
    except ReadersFileError as error:
        raise _left(str(error).replace(str(fresh), str(where))) from None
    except OSError as error:
        raise _left(f"{where} 写不进去:{error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)


def _show(name: str, token: str) -> None:
    console.print(f"{name} 的令牌(只显示这一次,请通过安全渠道交给使用人):", highlight=False)
    console.print(token, highlight=False, soft_wrap=True)


def _left(why: str) -> typer.Exit:
    problems.print(shown(StackError(why)), highlight=False, soft_wrap=True)
    return typer.Exit(1)
