"""The commands that check and mend the figures of the running stack: ``consistency``, ``recount``, ``rebuild``."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote, urlsplit

import httpx
import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.local.parts import ROOT, StackError, base_environment
from deploy.local.stack import shown
from deploy.local.state import Secrets, State
from shared import counties, items
from shared.audit import whoever_runs_this

console = Console()
problems = Console(stderr=True)

PATIENCE_SECONDS: Final = 600.0
MEASURES: Final = {
    "handled": "办件", "applied": "申报", "accepted": "受理", "completed": "办结", "completed_on_time": "按时办结",
    "not_accepted": "不予受理", "returned": "退件", "withdrawn": "撤件", "online": "网办",
}  # fmt: skip

ItemOption = Annotated[str | None, typer.Option("--item", help="code of a one-thing item, e.g. disabled-service")]
CountyOption = Annotated[str | None, typer.Option("--county", help="code of a county-level unit, e.g. 130607")]


class Source(StrEnum):
    """What a rebuild starts from."""

    CASES = "cases"
    LOG = "log"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(epilog="Example: ./onething consistency --item disabled-service")(consistency)
    app.command(epilog="Example: ./onething recount --item disabled-service --county 130607")(recount)
    app.command(epilog="Example: ./onething rebuild --from log")(rebuild)


def consistency(item: ItemOption = None, county: CountyOption = None) -> None:
    """Recount the cases against the counters of the running stack; leave with 1 when one differs."""
    answer = _ask("GET", "/v1/consistency", {"item": item, "county": county})
    if not answer["drift"]:
        console.print(f"已按 {answer['checked']} 件办件逐项重算,与计数器完全一致。", highlight=False)
        return
    console.print(_differences(f"重算与计数器不一致(核对办件 {answer['checked']} 件)", answer["drift"]))
    console.print("用 ./onething rebuild 按办件改正计数器。", highlight=False)
    raise typer.Exit(1)


def recount(item: ItemOption = None, county: CountyOption = None) -> None:
    """Count the cases themselves, without any counter, by county."""
    answer = _ask("GET", "/v1/recount", {"item": item, "county": county})
    name = items.find(item).name if item else "全部事项"
    table = Table(title=f"{name}:按办件重新计数,截至 {answer['as_of']}(核对 {answer['checked']} 件)", title_justify="left")
    table.add_column("单位")
    for measure in MEASURES.values():
        table.add_column(measure, justify="right", overflow="fold")
    for row in [*answer["rows"], {"name": "合计", **answer["total"]}]:
        table.add_row(row["name"], *(str(row[measure]) for measure in MEASURES))
    console.print(table)


def rebuild(
    source: Annotated[
        Source, typer.Option("--from", help="the cases, or everything from Kafka beside the live tables")
    ] = Source.CASES,
    keep: Annotated[bool, typer.Option("--keep", help="from the log: leave the old tables in metrics_before")] = False,
) -> None:
    """Set every counter right from the cases, or recreate everything from the log, while the stack runs."""
    if source is Source.LOG:
        _from_log(keep)
        return
    answer = _ask("POST", "/v1/rebuild", {"from": "cases"})
    if not answer["differing"]:
        console.print(f"核对办件 {answer['checked']} 件,计数器全部正确,没有改动。", highlight=False)
        return
    console.print(_differences(f"已改正计数器 {answer['differing']} 个(核对办件 {answer['checked']} 件)", answer["changed"]))


def _differences(title: str, rows: Iterable[dict[str, Any]]) -> Table:
    table = Table("事项", "县(市、区)", "日期", "指标", title=title, title_justify="left")
    table.add_column("按办件重算", justify="right")
    table.add_column("计数器", justify="right")
    for row in rows:
        item, county = items.BY_CODE.get(row["item"]), counties.BY_CODE.get(row["county"])
        table.add_row(
            item.name if item else row["item"], county.name if county else row["county"],
            row["day"] if row["span"] == "day" else f"{row['day'][:7]} 全月",
            MEASURES[row["measure"]], str(row["recount"]), str(row["counter"]),
        )  # fmt: skip
    return table


def _state() -> State:
    return State(Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve())


def _endpoints() -> dict[str, Any]:
    """What the running stack wrote; leaves with a sentence when none runs."""
    file = _state().endpoints
    try:
        endpoints: dict[str, Any] = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise _left(f"no stack runs on {file.parent}: start one with ./onething up, or set ONETHING_STATE_DIR.") from None
    return endpoints


def _left(why: str) -> typer.Exit:
    problems.print(shown(StackError(why)), highlight=False, soft_wrap=True)
    return typer.Exit(1)


def _ask(method: str, path: str, parameters: dict[str, str | None]) -> Any:
    """Asks the metrics api as the operator; leaves with its own words when it refuses."""
    endpoints = _endpoints()
    asked = {name: value for name, value in parameters.items() if value is not None}
    headers = {"Authorization": f"Bearer {endpoints['operator_token']}", "onething-operator": whoever_runs_this()}
    try:
        with httpx.Client(base_url=endpoints["metrics"], headers=headers, trust_env=False, timeout=PATIENCE_SECONDS) as client:
            answer = client.request(method, path, params=asked)
    except httpx.TransportError as error:
        raise _left(f"{endpoints['metrics']} does not answer ({type(error).__name__}): see the log of metrics api.") from None
    if answer.status_code != httpx.codes.OK:
        said = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        details = [f"{e['pointer'].rpartition('/')[2]}: {e['message']}" for e in said.get("errors", [])]
        raise _left(
            "; ".join(details) or said.get("detail") or f"{path} answered {answer.status_code}: see the log of metrics api."
        )
    return answer.json()


def _from_log(keep: bool) -> None:
    endpoints = _endpoints()
    secrets = Secrets.model_validate_json((_state().folder / "secrets.json").read_bytes())
    variables = base_environment() | {
        "PYTHONUNBUFFERED": "1",
        "ONETHING_KAFKA": endpoints["kafka"],
        "ONETHING_POSTGRES_DSN": role_dsn(endpoints["postgres"], "metrics", secrets.postgres["metrics"]),
        "ONETHING_POSTGRES_ADMIN_DSN": endpoints["postgres"],
    }
    command = [sys.executable, "-m", "services.metrics.main", "rebuild", "--from", "log", *(["--keep"] if keep else [])]
    done: dict[str, Any] = {}
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        columns = (TextColumn("从日志重建"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=None)
            for event in _events(process.stdout):
                if event["event"] == "rebuild_progress":
                    progress.update(bar, completed=event["counted"], total=event["of"])
                elif event["event"] == "rebuilt":
                    done = event
        said = process.stderr.read().strip()
    if process.returncode:
        raise _left(said or f"the rebuild ended with {process.returncode}; the live tables stand as they were.")
    kept = f" 旧表保留在 {done['kept']}。" if done["kept"] else ""
    console.print(f"已从日志重建全部数据:{done['offsets']} 条记录,{done['seconds']} 秒,新表已启用。{kept}", highlight=False)


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The log's lines that are events; others are passed over."""
    for line in lines:
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


def role_dsn(admin_dsn: str, role: str, password: str) -> str:
    """The DSN of ``role`` on the database of ``admin_dsn``."""
    parts = urlsplit(admin_dsn)
    return parts._replace(netloc=f"{role}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}").geturl()
