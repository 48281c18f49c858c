"""``./onething bench``: measurements beside their rivals, in one run on a broker and a database of the run's own."""

import asyncio
import json
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.local.parts import StackError

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = Console()
problems = Console(stderr=True)


@app.callback()
def bench() -> None:
    """Measure, beside what one would otherwise write or pick."""


@app.command(epilog="Example: ./onething bench metrics --stored 1000000 --only worker --json grown.json")
def metrics(
    events: Annotated[int, typer.Option(min=1, help="Events, about 700 bytes each on the log.")] = 600_000,
    cases: Annotated[int | None, typer.Option(min=1, help="Cases they belong to; a third of the events without it.")] = None,
    stored: Annotated[int, typer.Option(min=0, help="Older cases stored before, e.g. 100000, 1000000, 5000000.")] = 0,
    counters: Annotated[
        int, typer.Option(min=0, help="Counties with three years of daily counters of 40 items stored before, e.g. 180.")
    ] = 0,
    only: Annotated[
        list[str] | None, typer.Option(help="One part; may be repeated: read, copy, upsert, naive, batch, worker, reads, paced.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another workload of the same kind.")] = 1,
    file: Annotated[Path | None, typer.Option("--json", help="Where the figures go, with the machine and the command.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small, about a minute: shows that all of it runs, no more.")] = False,
) -> None:
    """Counting: bare read and writes, a naive handler, this worker; reads and freshness meanwhile. Fails on a wrong count."""
    # Only here: the other commands need none of it.
    from benchmarks import metrics as of_metrics
    from benchmarks import report as reports

    if unknown := set(only or ()) - set(of_metrics.PARTS):
        problems.print(f"[red]✗[/red] no such part: {', '.join(sorted(unknown))}; choose of {', '.join(of_metrics.PARTS)}")
        raise typer.Exit(2)
    if quick:
        plan = replace(of_metrics.QUICK, seed=seed)
    else:
        plan = of_metrics.Plan(events=events, cases=cases or -(-events // 3), stored=stored, counters=counters, seed=seed)
    if only:
        plan = replace(plan, only=tuple(part for part in of_metrics.PARTS if part in only))
    if not plan.cases <= plan.events <= 3 * plan.cases:
        problems.print("[red]✗[/red] a case has one to three events: choose --cases between a third of --events and --events")
        raise typer.Exit(2)
    report = _measured(lambda step: of_metrics.run(plan, step))
    reports.ratios(report["rows"])
    console.print(reports.table(report))
    _keep(report, file)


@app.command(epilog="Example: ./onething bench intake --overload --minutes 10 --json intake.json")
def intake(
    only: Annotated[list[str] | None, typer.Option(help="One kind of load; may be repeated: batches, single.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Events a batch.")] = 500,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each server gets of each kind.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of a turn.")] = 8.0,
    overload: Annotated[
        bool,
        typer.Option("--overload", help="Then batches at twice what is taken; ten minutes leave about 10 GB, removed at the end."),
    ] = False,
    minutes: Annotated[float, typer.Option(min=0.1, help="Length of the overload.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Another workload of the same kind.")] = 1,
    file: Annotated[Path | None, typer.Option("--json", help="Where the figures go, with the machine and the command.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small, under a minute: shows that all of it runs, no more.")] = False,
) -> None:
    """Taking events in: signed batches and single events, beside a bare FastAPI + aiokafka route; overload, nothing lost."""
    from benchmarks import intake as of_intake
    from benchmarks import intake_report

    if unknown := set(only or ()) - set(of_intake.KINDS):
        problems.print(f"[red]✗[/red] no such load: {', '.join(sorted(unknown))}; choose of {', '.join(of_intake.KINDS)}")
        raise typer.Exit(2)
    plan = of_intake.QUICK if quick else of_intake.Plan(rounds=rounds, seconds=seconds)
    plan = replace(
        plan, batch=batch, seed=seed, overload_minutes=min(minutes, 0.05 if quick else minutes) if overload else 0.0,
        only=tuple(kind for kind in of_intake.KINDS if not only or kind in only),
    )  # fmt: skip
    report = _measured(lambda step: of_intake.run(plan, step))
    console.print(intake_report.table(report))
    _keep(report, file)


@app.command(epilog="Example: ./onething bench stream --clients 1000 --json stream.json")
def stream(
    clients: Annotated[int, typer.Option(min=1, max=1900, help="Clients that follow at once.")] = 1000,
    lazy: Annotated[int, typer.Option(min=0, max=90, help="Clients beside them that never read.")] = 50,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of changes, one a second.")] = 20,
    changed: Annotated[int, typer.Option(min=1, max=2574, help="Counters that change in a round.")] = 100,
    file: Annotated[Path | None, typer.Option("--json", help="Where the figures go, with the machine and the command.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small, under a minute: shows that all of it runs, no more.")] = False,
) -> None:
    """Following by server-sent events: one api process, many clients; how soon all have a change, memory, CPU; none missed."""
    from benchmarks import stream as of_stream

    plan = of_stream.QUICK if quick else of_stream.Plan(clients=clients, lazy=lazy, rounds=rounds, changed=changed)
    report = _measured(lambda step: of_stream.run(plan, step))
    for line in of_stream.lines(report):
        console.print(line, highlight=False)
    _keep(report, file)


@app.command(epilog="Example: ./onething bench page --json page.json")
def page(
    seconds: Annotated[float, typer.Option(min=1, help="How long /v1/ranking is asked, each time.")] = 10.0,
    per_second: Annotated[int, typer.Option(min=50, help="Events that come in meanwhile.")] = 2_000,
    probes: Annotated[int, typer.Option(min=1, max=180, help="Events that the browser is to show.")] = 100,
    file: Annotated[Path | None, typer.Option("--json", help="Where the figures go, with the machine and the command.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small, under a minute: shows that all of it runs, no more.")] = False,
) -> None:
    """Reading while events come in: /v1/ranking on one process, and how soon a real browser shows what was accepted."""
    from benchmarks import page as of_page

    plan = of_page.QUICK if quick else of_page.Plan(seconds=seconds, per_second=per_second, probes=probes)
    report = _measured(lambda step: of_page.run(plan, step))
    for line in of_page.lines(report):
        console.print(line, highlight=False)
    _keep(report, file)


@app.command(epilog="Example: ./onething bench scale 5m.json")
def scale(
    file: Annotated[
        Path, typer.Argument(help="What `bench metrics --json` wrote, with the part worker.", exists=True, dir_okay=False)
    ],
) -> None:
    """What a city, a province and the nation need by a run's figures (docs/scale.md has the formulas)."""
    from benchmarks.scale import CITY, NATION, PROVINCE, Measured, needs

    try:
        measured = Measured.of(json.loads(file.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError):
        problems.print(f"[red]✗[/red] {file} holds no figures of the worker: run `./onething bench metrics --json {file}` first")
        raise typer.Exit(2) from None
    shown = Table(box=box.SIMPLE)
    shown.add_column("by these figures")
    columns = [(demand, asdict(needs(demand, measured))) for demand in (CITY, PROVINCE, NATION)]
    for demand, _ in columns:
        shown.add_column(f"{demand.name}\n{demand.people:,} people", justify="right")
    for name in columns[0][1]:
        shown.add_row(name.replace("_", " "), *(f"{found[name]:,.2f}" for _, found in columns))
    console.print(shown)


def _measured(run: Callable[[Any], Any]) -> dict[str, Any]:
    """The report of a run, with the command that asked for it; leaves with 1 and a sentence when it failed."""
    from benchmarks.stage import BenchError

    try:
        report: dict[str, Any] = asyncio.run(_shown(run))
    except asyncio.CancelledError:
        raise typer.Exit(130) from None
    except (BenchError, StackError) as error:
        problems.print(f"[red]✗[/red] {error}", highlight=False, soft_wrap=True, markup=True)
        raise typer.Exit(1) from None
    return {"command": shlex.join(["./onething", *sys.argv[1:]]), **report}


def _keep(report: dict[str, Any], file: Path | None) -> None:
    if file is not None:
        file.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        console.print(f"figures in {file}", highlight=False)


async def _shown(run: Callable[[Any], Any]) -> dict[str, Any]:
    """Runs it with a line a step and a bar where there is something to count; a signal ends it cleanly."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # On the error stream, so that what is measured can be piped.
    with Progress(*columns, console=problems) as progress:

        def close() -> None:
            for earlier in progress.tasks:
                if not earlier.finished:
                    progress.update(earlier.id, total=max(earlier.completed, 1), completed=max(earlier.completed, 1))

        def step(what: str, total: int) -> Callable[[int], None]:
            close()
            bar = progress.add_task(what, total=total or None)
            return lambda more: progress.advance(bar, more)

        found: dict[str, Any] = await run(step)
        close()
    return found
