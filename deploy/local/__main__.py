"""The commands behind ``./onething``."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from deploy.local import (
    acls,
    audit,
    bench,
    case_history,
    companies,
    contracts,
    notice,
    page,
    parked,
    push_file,
    readers,
    receipt,
    senders,
    sheet,
    upkeep,
    utilities,
)
from deploy.local.parts import ROOT, StackError
from deploy.local.stack import Endpoints, Ports, running, shown
from shared.kafka.topics import PARTITIONS

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(case_history.app, name="case")
app.add_typer(senders.app, name="senders")
app.add_typer(readers.app, name="readers")
app.add_typer(receipt.app, name="receipt")
app.add_typer(parked.app, name="parked")
app.add_typer(notice.app, name="notice")
app.add_typer(companies.app, name="companies")
app.add_typer(sheet.app, name="sheet")
app.add_typer(utilities.app, name="utilities")
console = Console()
problems = Console(stderr=True)

app.add_typer(bench.app, name="bench")
upkeep.register(app)
contracts.register(app)
push_file.register(app)
page.register(app)
acls.register(app)
audit.register(app)

GATES: Final = (
    ("lint", ["ruff", "check", "."]),
    ("format", ["ruff", "format", "--check", "."]),
    ("types", ["mypy"]),
    ("layers", ["lint-imports"]),
)


@app.command(epilog="Example: ONETHING_PORT_BASE=8200 ./onething up")
def up() -> None:
    """Start Kafka, PostgreSQL and the three services, and stay until Ctrl-C."""

    async def stay(endpoints: Endpoints) -> int:
        _tell_page(endpoints)
        return await _for_ever()

    raise typer.Exit(_with_stack(stay, interrupted=0))


@app.command(epilog="Example: ./onething demo --exit")
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="Leave at the end, with 1 when a figure is not as expected.")] = False,
) -> None:
    """Start everything, push the sample season over HTTP and Kafka, show the notice and check each figure."""
    # Only here: the sample is large, and `up` needs none of it.
    from deploy.local.demo import run_demo

    async def show(endpoints: Endpoints) -> int:
        correct = await run_demo(endpoints, console)
        if leave:
            return 0 if correct else 1
        _tell_page(endpoints)
        return await _for_ever()

    raise typer.Exit(_with_stack(show, interrupted=130 if leave else 0))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: ./onething test -k signature",
)
def test(context: typer.Context) -> None:
    """Run all that the continuous integration runs; further arguments go to pytest."""
    programs = Path(sys.executable).parent
    for name, command in GATES:
        console.rule(f"{name}: {' '.join(command)}", align="left")
        if subprocess.run([programs / command[0], *command[1:]], cwd=ROOT).returncode:
            problems.print(f"[red]✗[/red] {name} failed: mend what `{' '.join(command)}` names above", highlight=False)
            raise typer.Exit(1)
    console.rule("tests: pytest", align="left")
    sys.stdout.flush()
    os.chdir(ROOT)
    # In our place, so that its closing line is the last one and signals reach it.
    os.execv(programs / "pytest", ["pytest", "-n", "4", "--dist", "worksteal", *context.args])  # noqa: S606


@app.command(epilog="Example: python -m deploy.local topics --kafka kafka:9092")
def topics(
    kafka: Annotated[str, typer.Option(help="host:port of a broker")],
    prefix: Annotated[str, typer.Option(help="first part of the topics' names")] = "onething",
    replication: Annotated[int, typer.Option(help="copies of each partition")] = 1,
    partitions: Annotated[int, typer.Option(min=1, help="of each topic but county-metrics; fixed once it is made")] = PARTITIONS,
    protocol: acls.ProtocolOption = None,
    user: acls.UserOption = "",
    password_file: acls.PasswordOption = None,
    cafile: acls.CafileOption = None,
) -> None:
    """Create the topics that are missing on a broker, for a deployment other than the local one."""
    from aiokafka.errors import KafkaError

    from deploy.local.topics import create_topics
    from shared.kafka import Address, Topics

    try:
        address = Address(kafka, acls.access_of(protocol, user, password_file, cafile))
    except StackError as error:
        problems.print(shown(error), highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None

    async def create() -> list[str]:
        async with asyncio.timeout(120):
            while True:
                try:
                    return await create_topics(address, Topics(prefix).specs(partitions), replication=replication)
                except (KafkaError, OSError) as error:
                    problems.print(f"{kafka} does not take it yet ({type(error).__name__}): trying again", highlight=False)
                    await asyncio.sleep(2)

    try:
        made = asyncio.run(create())
    except TimeoutError:
        problems.print(f"[red]✗[/red] the topics were not made within 120 s: see whether Kafka answers at {kafka}", highlight=False)
        raise typer.Exit(1) from None
    console.print(f"made {', '.join(made)}" if made else "all topics stand", highlight=False, soft_wrap=True)


def _tell_page(endpoints: Endpoints) -> None:
    console.print(f"\n监测页(此链接登录一次,一小时内有效;再要一个:./onething page)· Ctrl-C stops\n{page.login_address(endpoints)}",
                  highlight=False, soft_wrap=True)  # fmt: skip


async def _for_ever() -> int:
    await asyncio.Event().wait()
    return 0


def _with_stack(use: Callable[[Endpoints], Awaitable[int]], interrupted: int) -> int:
    """Starts the stack from the environment's settings, and runs ``use`` until it ends or a signal comes.

    Gives the exit status: that of ``use``, ``interrupted`` after a signal, 1 when the stack could not be started.
    """
    try:
        folder = Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve()
        base = os.environ.get("ONETHING_PORT_BASE") or "8100"
        if not base.isdecimal():
            raise StackError(f"ONETHING_PORT_BASE is {base!r}: set it to a number, e.g. 8100.")
        return asyncio.run(_until_signal(running(folder, Ports(int(base)), console), use, interrupted))
    except StackError as error:
        problems.print(shown(error), highlight=False, soft_wrap=True)
        return 1


async def _until_signal(
    stack: AbstractAsyncContextManager[Endpoints], use: Callable[[Endpoints], Awaitable[int]], interrupted: int
) -> int:
    async def run() -> int:
        async with stack as endpoints:
            return await use(endpoints)

    work = asyncio.create_task(run())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        return interrupted


if __name__ == "__main__":
    app()
