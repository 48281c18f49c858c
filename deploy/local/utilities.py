"""``./onething utilities``: who is overdue on a day, and the companies' state read anew from the log. It speaks to a bureau."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import orjson
import typer
from aiokafka.errors import KafkaError
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from deploy.local import bench
from deploy.local.parts import ROOT, StackError
from deploy.local.stack import shown
from deploy.local.state import Secrets, State
from deploy.local.upkeep import role_dsn
from services.utilities.handlers.rebuilding import CannotRebuild, Progress, rebuild
from services.utilities.store.due import Overdue, overdue
from services.utilities.store.subjects import names_of
from shared import counties, postgres
from shared.audit import whoever_runs_this
from shared.clock import business_day, now
from shared.events.progress import InstallationState, Limit
from shared.kafka import LogReader, Topics
from shared.workdays import working_days_between

app = typer.Typer(no_args_is_help=True, help="企业报装:某日逾期清单;从日志重建企业报送的全部状态。")
console = Console()
problems = Console(stderr=True)

SHOWN: Final = 50
"""Rows that are listed; the last line tells of all."""

SERVICES: Final = {
    "water": "供水", "drainage": "排水", "power": "供电", "gas": "燃气", "heat": "供热", "telecom": "通信", "cable_tv": "有线电视",
}  # fmt: skip
STEPS: Final = {
    "accepted": "受理", "surveyed": "踏勘", "plan_replied": "方案答复", "permitted": "外线审批", "works_started": "开工",
    "works_done": "竣工", "inspected": "验收", "connected": "接通",
}  # fmt: skip

Done = TypeVar("Done")


@app.command(
    "overdue", help="某日终了时逾期未办的报装。", epilog="Example: ./onething utilities overdue --on 2024-09-30 --county 130607"
)
def overdue_(
    on: Annotated[datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="日期,默认今天")] = None,
    county: Annotated[str | None, typer.Option(metavar="区划代码", help="只看一个县(市、区),如 130607")] = None,
    company: Annotated[str | None, typer.Option(metavar="企业编号", help="只看一家企业,如 baoding-gas")] = None,
) -> None:
    """Lists them, the longest overdue first."""
    day = on.date() if on is not None else business_day(now())
    if county is not None:
        try:
            county = counties.normalise(county).code
        except counties.UnknownCounty:
            raise _left(f"没有这个县(市、区):{county}。可选:{'、'.join(f'{c.code} {c.name}' for c in counties.ROSTER)}") from None

    async def ask(pool: postgres.Pool) -> tuple[list[Overdue], dict[str, str]]:
        async with pool.acquire() as db:
            return await overdue(db, day, county=county, company=company), await names_of(db)

    found, names = asyncio.run(_with_pool(ask))
    rows = sorted((row for one in found for row in _rows(InstallationState.model_validate(one.state), day)), key=lambda row: row[0])
    if not rows:
        console.print(f"{day} 没有逾期未办的报装。", highlight=False)
        return
    table = Table(title=f"{day} 逾期未办的报装", title_justify="left")
    for heading in ("县(市、区)", "企业", "服务", "报装编号", "逾期环节", "应办结日"):
        table.add_column(heading, overflow="fold")
    table.add_column("已逾期(工作日)", justify="right")
    for (_, _), state, limit in rows[:SHOWN]:
        table.add_row(
            counties.BY_CODE[state.county].name if state.county in counties.BY_CODE else "未报",
            names.get(state.company, state.company),
            SERVICES.get(state.service or "", "未报"), state.installation_no, STEPS[limit.step],
            f"{limit.due_on}{'(暂定)' if limit.provisional else ''}", str(working_days_between(limit.due_on or day, day)),
        )  # fmt: skip
    console.print(table)
    rest = f",以上列出前{SHOWN}件" if len(rows) > SHOWN else ""
    console.print(f"共 {len(rows)} 件{rest}。", highlight=False)


def _rows(state: InstallationState, day: date) -> list[tuple[tuple[date, str], InstallationState, Limit]]:
    """An installation's longest overdue limit; none where it was late on other days only."""
    late = [limit for limit in state.limits if limit.overdue_on(day) and limit.due_on is not None]
    first = min(late, key=lambda limit: limit.due_on or day, default=None)
    return [] if first is None else [((first.due_on or day, state.installation_no), state, first)]


@app.command("rebuild", help="清空企业报送的状态,由运行中的服务从日志重新读取。", epilog="Example: ./onething utilities rebuild")
def rebuild_(
    accept_shorter_log: Annotated[
        bool, typer.Option("--accept-shorter-log", help="日志比数据库已读的短时也继续(日志里没有的将丢失)")
    ] = False,
) -> None:
    """The running worker reads the log again; what is told stands meanwhile."""
    endpoints = _endpoints()
    topics = Topics("onething")
    columns = (TextColumn("重新读取日志"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console) as bars:
        bar = bars.add_task("", total=None)

        def tell(progress: Progress) -> None:
            bars.update(bar, completed=progress.read, total=progress.of)

        async def run(pool: postgres.Pool) -> Any:
            async with LogReader(endpoints["kafka"], [topics.utility_events, topics.case_events], client_id="rebuild") as log:
                return await rebuild(pool, log, now, tell, accept_shorter_log=accept_shorter_log, who=whoever_runs_this())

        try:
            done = asyncio.run(_with_pool(run))
        except CannotRebuild as error:
            raise _left(f"没有改动任何数据:{error}") from None
        except KafkaError as error:
            raise _left(f"Kafka 没有应答({type(error).__name__}):请看 {endpoints['kafka']} 是否在运行") from None
    gone = f";日志里没有的 {done.gone} 项已标为删除" if done.gone else ""
    console.print(f"已从日志重建企业报送的状态:{done.offsets} 条记录{gone}。新的快照正在发布。", highlight=False)


@bench.app.command("utilities", epilog="Example: ./onething bench utilities --events 100000 --json utilities.json")
def bench_utilities(
    events: Annotated[int, typer.Option(min=1, help="Events of a backlog, about three an installation.")] = 60_000,
    installations: Annotated[int, typer.Option(min=1, help="Installations whose due dates are derived.")] = 1_000_000,
    file: Annotated[Path | None, typer.Option("--json", help="Where the figures go, with the machine.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small: shows that all of it runs, no more.")] = False,
) -> None:
    """Companies' events into state and snapshots, and due dates derived anew. Fails on a wrong result."""
    # Only here: the other commands need none of it.
    from benchmarks import utilities as measure
    from benchmarks.stage import BenchError

    plan = measure.QUICK if quick else measure.Plan(events=events, installations=installations)
    try:
        report = asyncio.run(bench._shown(lambda step: measure.run(plan, step)))
    except asyncio.CancelledError:
        raise typer.Exit(130) from None
    except (BenchError, StackError) as error:
        raise _left(str(error)) from None
    table = Table("what", box=box.SIMPLE)
    for heading in ("n", "seconds", "a second", "µs CPU each:\nown + PG + Kafka"):
        table.add_column(heading, justify="right")
    for row in report["rows"]:
        used = row.get("cpu_us", {})
        cpu = " + ".join(f"{used[name]:.1f}" for name in ("process", "postgres", "kafka") if name in used)
        table.add_row(row["what"], f"{row['n']:,}", f"{row['seconds']:,.2f}", f"{row.get('per_second', 0):,}", cpu)
    console.print(table)
    if file is not None:
        file.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        console.print(f"figures in {file}", highlight=False)


async def _with_pool(use: Callable[[postgres.Pool], Awaitable[Done]]) -> Done:
    endpoints, state = _endpoints(), _state()
    try:
        secrets = Secrets.model_validate_json((state.folder / "secrets.json").read_bytes())
        dsn = role_dsn(endpoints["postgres"], "utilities", secrets.postgres["utilities"])
        async with await postgres.open_pool(dsn, application="onething-utilities", size=2) as pool:
            return await use(pool)
    except postgres.Unavailable as error:
        raise _left(f"数据库没有应答({type(error).__name__}):请看本机服务是否在运行") from None


def _state() -> State:
    return State(Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve())


def _endpoints() -> dict[str, Any]:
    try:
        endpoints: dict[str, Any] = orjson.loads(_state().endpoints.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise _left("没有运行中的服务:先用 ./onething up 启动,或设置 ONETHING_STATE_DIR。") from None
    return endpoints


def _left(why: str) -> typer.Exit:
    problems.print(shown(StackError(why)), highlight=False, soft_wrap=True)
    return typer.Exit(1)
