"""``./onething case history``: every event of a case from the log itself, what each one did, and what they add up to."""

import asyncio
import json
import os
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.local.case_table import Found, Unread, summary, table
from deploy.local.parts import ROOT, StackError
from deploy.local.stack import shown
from deploy.local.state import State
from services.metrics.domain.explain import Logged, explain
from services.metrics.domain.wire import Unreadable, read_case
from shared.kafka import Topics
from shared.kafka.partition import NoTopic, read_partition_of

app = typer.Typer(no_args_is_help=True, help="Look at one case.")
problems = Console(stderr=True)

WIDTH_OF_A_FILE: Final = 240
"""Columns of the table where no terminal says how wide it is, so that a file or a pipe gets whole lines."""


@app.callback()
def case() -> None:
    """Look at one case."""


@app.command(epilog="Example: ./onething case history urn:onething:province:hebei 2024-000123")
def history(
    source: Annotated[str, typer.Argument(help="The case's source, e.g. urn:onething:province:hebei.")],
    case_no: Annotated[str, typer.Argument(help="The case's number.")],
    kafka: Annotated[str | None, typer.Option(help="host:port of a broker other than the local stack's")] = None,
    prefix: Annotated[str, typer.Option(help="first part of the topics' names")] = "onething",
) -> None:
    """Show every event of a case from the log, which of its registers each one won, and why it lost the others."""
    topic = Topics(prefix).case_events
    try:
        found = asyncio.run(read(kafka or _local_kafka(), topic, source, case_no))
    except StackError as error:
        problems.print(shown(error), highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    if not found.events and not found.unread:
        what = f"the log {topic} holds no event of case {case_no} of {source}: see whether both are written right"
        problems.print(f"[red]✗[/red] {escape(what)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    screen = Console()
    out = screen if screen.is_terminal else Console(width=WIDTH_OF_A_FILE)
    told = explain(found.events)
    out.print(table(found, told))
    out.print(summary(told), highlight=False, soft_wrap=True)


def _local_kafka() -> str:
    folder = Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve()
    try:
        return str(json.loads(State(folder).endpoints.read_text(encoding="utf-8"))["kafka"])
    except (OSError, ValueError, KeyError):
        raise StackError(
            f"no stack runs on {folder}: start it with ./onething up, set ONETHING_STATE_DIR to its folder, or name a broker"
            " with --kafka host:port."
        ) from None


async def read(kafka: str, topic: str, source: str, case_no: str) -> Found:
    """All that the log holds of the case, with a progress bar on the standard error.

    Raises:
        StackError: the log cannot be read; the message says what to do.
    """
    key = case_no.encode()
    found = Found([], [], {})
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=problems, transient=True) as progress:
            task = progress.add_task("读取事件日志", total=None)
            async with aclosing(read_partition_of(kafka, topic, key)) as portions:
                async for portion in portions:
                    for record in portion.records:
                        # By the key first: only the case's own records are worth parsing.
                        if record.key == key:
                            _take(found, source, case_no, record.offset, record.timestamp, record.value)
                    progress.update(task, completed=portion.position - portion.begin, total=portion.end - portion.begin)
    except NoTopic:
        raise StackError(f"{kafka} has no topic {topic}: see whether --prefix is right.") from None
    except (KafkaError, OSError) as error:
        raise StackError(f"Kafka at {kafka} does not answer ({type(error).__name__}): see whether it runs.") from None
    return found


def _take(found: Found, source: str, case_no: str, offset: int, timestamp: int, value: bytes | None) -> None:
    arrived = datetime.fromtimestamp(timestamp / 1000, UTC)
    try:
        event = read_case(value)
    except Unreadable as error:
        if not isinstance(error.item, dict) or error.item.get("source") in (None, source):
            found.arrived[offset] = arrived
            found.unread.append(Unread(offset, str(error)))
        return
    if (event.source, event.case_no) == (source, case_no):
        found.arrived[offset] = arrived
        found.events.append(Logged(offset, event.version, event.event))
