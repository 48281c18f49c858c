"""Keeps the parts running: one that dies is named with the end of its log, and started again with growing delay."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.local.parts import Part, StackError, ending, start, stop, tail, until_ready

LONGEST_BACKOFF_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""A part that ran this long is steady: its next death counts as the first."""
READY_SECONDS: Final = 90.0

Say = Callable[[str], None]


def backoff(deaths: int) -> float:
    """Seconds before the start that follows the ``deaths``-th death in a row: 1, 2, 4, … 30.

    >>> [backoff(n) for n in (1, 2, 3, 5, 6, 99)]
    [1.0, 2.0, 4.0, 16.0, 30.0, 30.0]
    """
    return min(2.0 ** min(deaths - 1, 10), LONGEST_BACKOFF_SECONDS)


@dataclass(slots=True)
class _Kept:
    part: Part
    process: subprocess.Popen[bytes]
    started: float
    deaths: int = 0


class Supervisor:
    """Starts parts, restarts those that die, stops all. ``say`` takes one line of rich markup for people."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._kept: dict[str, _Kept] = {}
        self._watchers: set[asyncio.Task[None]] = set()

    async def start(self, *parts: Part) -> None:
        """Starts ``parts`` side by side; returns when all are ready, and keeps them so.

        Raises:
            StackError: one ended or was not ready in time; the others are left to :meth:`stop`.
        """
        kept = []
        for part in parts:
            entry = self._kept[part.name] = _Kept(part, start(part), time.monotonic())
            kept.append(entry)
        waiting = [asyncio.create_task(self._first(entry)) for entry in kept]
        try:
            await asyncio.gather(*waiting)
        finally:
            for task in waiting:
                task.cancel()

    async def _first(self, entry: _Kept) -> None:
        await until_ready(entry.part, entry.process, READY_SECONDS)
        self._say(f"[green]✓[/green] {entry.part.name:<18} ready in {time.monotonic() - entry.started:4.1f} s")
        task = asyncio.create_task(self._keep(entry), name=entry.part.name)
        self._watchers.add(task)

    async def _keep(self, entry: _Kept) -> None:
        while True:
            if entry.process.poll() is None:
                await asyncio.sleep(0.2)
                continue
            if time.monotonic() - entry.started > STEADY_SECONDS:
                entry.deaths = 0
            entry.deaths += 1
            await self._again(entry, backoff(entry.deaths))

    async def _again(self, entry: _Kept, delay: float) -> None:
        part = entry.part
        self._say(
            f"[red]✗[/red] {part.name} died ({ending(entry.process)}); it is started again in {delay:.0f} s."
            f" Its log {part.log} ends:\n[dim]{_plain(tail(part.log))}[/dim]"
        )
        await asyncio.sleep(delay)
        entry.started = time.monotonic()
        try:
            if part.before_restart is not None:
                await asyncio.to_thread(part.before_restart)
            entry.process = start(part)
            await until_ready(part, entry.process, READY_SECONDS)
        except StackError as error:
            # Dead: the next round tells so. Alive but never ready: ended, so that the next round starts it anew.
            if entry.process.poll() is None:
                self._say(f"[red]✗[/red] {_plain(str(error).partition(chr(10))[0])}")
                await asyncio.to_thread(stop, entry.process, part.stop_signal, part.stop_seconds)
            return
        self._say(f"[green]✓[/green] {part.name} is ready again after {time.monotonic() - entry.started:.1f} s")

    async def stop(self, groups: Sequence[Sequence[str]]) -> None:
        """Stops what was started, one group of names after another, each group side by side; the rest of them last."""
        for task in self._watchers:
            task.cancel()
        if self._watchers:
            await asyncio.wait(self._watchers)
        named = {name for group in groups for name in group}
        for group in (*groups, [name for name in self._kept if name not in named]):
            await asyncio.gather(*(self._end(self._kept[name]) for name in group if name in self._kept))

    async def _end(self, entry: _Kept) -> None:
        with contextlib.suppress(ProcessLookupError):
            if not await asyncio.to_thread(stop, entry.process, entry.part.stop_signal, entry.part.stop_seconds):
                self._say(
                    f"[yellow]![/yellow] {entry.part.name} did not stop within {entry.part.stop_seconds:.0f} s and was killed"
                )


def _plain(text: str) -> str:
    """``text`` so that rich shows its brackets as they are."""
    return text.replace("[", r"\[")
