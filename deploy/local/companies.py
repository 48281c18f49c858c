"""``./onething companies``: the registry of companies in and out, and links to their page. It speaks to people of a bureau."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from deploy.local.caller import given
from deploy.local.parts import ROOT, StackError
from deploy.local.stack import shown
from deploy.local.state import Secrets, State
from deploy.local.upkeep import role_dsn
from services.utilities.domain.registry import RegistryErrors, subject_of
from services.utilities.domain.registry_file import RegistryFile, write_csv, write_xlsx
from services.utilities.domain.sheets import layout
from services.utilities.handlers import page
from services.utilities.handlers.registry import Change, Import, export_registry, import_registry, read_registered
from shared import postgres
from shared.audit import whoever_runs_this
from shared.clock import now
from shared.events.progress import RegistryState

app = typer.Typer(no_args_is_help=True, help="企业登记表:导入、查看、导出;给没有系统的企业发登录链接。")
console = Console()
problems = Console(stderr=True)

WIDTH_OF_A_FILE: Final = 240

SHOWN: Final = 40
"""Changes that an import lists; the counts tell of all."""

Done = TypeVar("Done")

CompanyArgument = Annotated[str, typer.Argument(metavar="企业编号", help="登记表里的企业编号,如 baoding-gas")]


@app.command("import", help="导入企业登记表(整表替换)。", epilog="Example: ./onething companies import 企业登记表.xlsx --dry-run")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="登记表:.xlsx 或 .csv(UTF-8 或 GB18030)")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只显示会有哪些变动,不写入")] = False,
) -> None:
    """Makes the registry what the file says; figures change from each line's date on."""
    where = given(file)
    try:
        content = where.read_bytes()
    except OSError as error:
        raise _left(f"读不到 {where}({error.strerror})") from None
    try:
        with Progress(SpinnerColumn(), TextColumn("导入企业登记表"), TimeElapsedColumn(), console=problems, transient=True) as bar:
            bar.add_task("")
            done = _with_pool(lambda pool: import_registry(pool, content, now(), dry_run=dry_run, who=whoever_runs_this()))
    except RegistryErrors as error:
        for line in error.errors[:SHOWN]:
            problems.print(f"[red]✗[/red] {escape(line)}", highlight=False, soft_wrap=True)
        if len(error.errors) > SHOWN:
            problems.print(f"……共{len(error.errors)}处", highlight=False)
        raise _left("登记表没有导入,原来的登记不变:请改好以上各行后再导入") from None
    _tell(done, dry_run)


def _tell(done: Import, dry_run: bool) -> None:
    if done.changes:
        table = Table("变动", "县(市、区)", "企业", "服务", _whole("原起止日期"), _whole("新起止日期"), title_justify="left")
        for change in done.changes[:SHOWN]:
            table.add_row(*_change(change))
        _out().print(table)
        if len(done.changes) > SHOWN:
            console.print(f"……共{len(done.changes)}处变动", highlight=False)
    counts = f"新增{done.added}、变更{done.changed}、移出{done.removed}、不变{done.unchanged}(按县、企业、服务计)"
    verb = "会有变动" if dry_run else "已导入"
    console.print(f"{verb}:{counts},联系方式变动{done.contacts}处。", highlight=False, soft_wrap=True)
    if dry_run:
        console.print("没有写入。去掉 --dry-run 即导入。", highlight=False)
    elif done.changes:
        console.print(
            "统计数字自各行的起止日期起变动。新企业没有报送系统的,用 ./onething companies link 企业编号 发登录链接。",
            soft_wrap=True,
        )


def _change(change: Change) -> tuple[str, ...]:
    state = change.after or change.before
    assert state is not None, "a change has a before or an after"
    kind = "新增" if change.before is None else "移出" if change.after is None else "变更"
    name = state.name
    if change.before is not None and change.after is not None and change.before.name != change.after.name:
        name = f"{change.before.name} → {change.after.name}"
    return (
        kind, layout.word_of(layout.COUNTIES, state.county), name, layout.word_of(layout.SERVICES, state.service),
        _periods(change.before), _periods(change.after),
    )  # fmt: skip


def _periods(state: RegistryState | None) -> str:
    return "\n".join(f"{p.valid_from} 至 {p.valid_to or '今'}" for p in state.periods) if state is not None else "—"


@app.command("list", help="列出登记的企业,或某企业的各项登记。", epilog="Example: ./onething companies list baoding-gas")
def list_(
    company: Annotated[str | None, typer.Argument(metavar="[企业编号]", help="只列这一家,带起止日期和联系科室")] = None,
) -> None:
    """Shows the registry."""
    file = _with_pool(read_registered)
    if company is None:
        _out().print(_companies(file.states))
        return
    own = [state for state in file.states if state.company == company]
    if not own:
        raise _left(f"登记表里没有企业 {company}:用 ./onething companies list 查看有哪些")
    title = f"{own[0].name}({company})"
    table = Table("县(市、区)", "服务", _whole("起止日期"), "联系科室", _whole("办公电话"), title=title, title_justify="left")
    for state in own:
        office, phone = file.contacts.get(subject_of(state.county, state.company, state.service), ("", ""))
        county, service = layout.word_of(layout.COUNTIES, state.county), layout.word_of(layout.SERVICES, state.service)
        table.add_row(county, service, _periods(state), office, phone)
    _out().print(table)


def _whole(title: str) -> Column:
    """A column whose texts are not broken in two lines, however narrow the terminal: dates and numbers are copied."""
    return Column(title, no_wrap=True)


def _out() -> Console:
    """Where tables go: as wide as the terminal; in a file or a pipe nothing has to be broken."""
    return console if console.is_terminal else Console(width=WIDTH_OF_A_FILE)


def _companies(states: Iterable[RegistryState]) -> Table:
    by_company: dict[str, list[RegistryState]] = {}
    for state in states:
        by_company.setdefault(state.company, []).append(state)
    table = Table(_whole("企业编号"), "企业名称", "服务", "县(市、区)", title=f"登记企业{len(by_company)}家", title_justify="left")
    for company, own in sorted(by_company.items()):
        services = {layout.word_of(layout.SERVICES, state.service): None for state in own}
        counties = {layout.word_of(layout.COUNTIES, state.county): None for state in own}
        names = "、".join(counties) if len(counties) <= 3 else f"{'、'.join(list(counties)[:3])}等{len(counties)}个"
        table.add_row(company, own[0].name, "、".join(services), names)
    return table


@app.command(help="导出企业登记表,可改好后再导入。", epilog="Example: ./onething companies export 企业登记表.xlsx")
def export(file: Annotated[Path, typer.Argument(metavar="FILE", help="输出文件:.xlsx 或 .csv")]) -> None:
    """Writes the registry as a file that ``import`` takes."""
    writers: dict[str, Callable[[RegistryFile], bytes]] = {".xlsx": write_xlsx, ".csv": write_csv}
    writer = writers.get(file.suffix.lower())
    if writer is None:
        raise _left(f"{file.name}:后缀请用 .xlsx 或 .csv")
    where = given(file)
    registry = _with_pool(lambda pool: export_registry(pool, now(), whoever_runs_this()))
    try:
        where.write_bytes(writer(registry))
    except OSError as error:
        raise _left(f"写不了 {where}({error.strerror})") from None
    console.print(f"已导出 {len(registry.states)} 项登记到 {where}", highlight=False, soft_wrap=True)


@app.command(help="给一家企业发一次性登录链接,用来打开企业报送页。", epilog="Example: ./onething companies link baoding-gas")
def link(
    company: CompanyArgument,
    hours: Annotated[int, typer.Option("--hours", min=1, max=168, help="链接在多少小时内有效")] = page.LINK_HOURS,
    url: Annotated[str | None, typer.Option("--url", help="报送页的对外地址,如 https://sheets.example.cn;默认本机的")] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="不发链接,而是作废该企业的所有链接并让它退出登录")] = False,
) -> None:
    """Prints a link that lets whoever opens it in once, as the company."""
    if revoke:
        ended = _with_pool(lambda pool: page.lock_out(pool, company, now(), whoever_runs_this()))
        console.print(f"已作废 {company} 的链接和登录共 {ended} 个。", highlight=False)
        return
    address = (url or str(_endpoints()["utilities"])).rstrip("/")
    try:
        token, name = _with_pool(lambda pool: page.make_link(pool, company, now(), hours, whoever_runs_this()))
    except page.NotInRegistry:
        raise _left(f"登记表里没有企业 {company}:先用 ./onething companies import 登记") from None
    console.print(
        f"{name}({company})的登录链接,{hours}小时内有效,只能用一次;谁拿到都能以该企业登录,请只发给该企业:", soft_wrap=True
    )
    console.print(f"{address}/login?token={quote(token)}", highlight=False, soft_wrap=True, markup=False)


def _with_pool(use: Callable[[postgres.Pool], Awaitable[Done]]) -> Done:
    """Runs ``use`` on the database of the utilities service; leaves with a sentence where that cannot be reached."""
    dsn = _dsn()

    async def run() -> Done:
        async with await postgres.open_pool(dsn, application="utilities-companies", size=1) as pool:
            return await use(pool)

    try:
        return asyncio.run(run())
    except postgres.Unavailable as error:
        raise _left(f"数据库没有应答({type(error).__name__}):请看系统是否在运行") from None


def _dsn() -> str:
    """``ONETHING_POSTGRES_DSN`` where it is set, as the service has it, else the local stack's."""
    told = os.environ.get("ONETHING_POSTGRES_DSN")
    if told:
        return told
    endpoints = _endpoints()
    secrets = Secrets.model_validate_json((_state().folder / "secrets.json").read_bytes())
    return role_dsn(endpoints["postgres"], "utilities", secrets.postgres["utilities"])


def _state() -> State:
    return State(Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve())


def _endpoints() -> dict[str, Any]:
    file = _state().endpoints
    try:
        endpoints: dict[str, Any] = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise _left(
            f"{file.parent} 上没有运行的系统:用 ./onething up 启动,或设置 ONETHING_STATE_DIR;其他部署请设置 ONETHING_POSTGRES_DSN"
        ) from None
    return endpoints


def _left(why: str) -> typer.Exit:
    problems.print(shown(StackError(why)), highlight=False, soft_wrap=True)
    return typer.Exit(1)
