"""What processes use, from ``/proc``: CPU seconds and memory."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Self

SAMPLE_SECONDS: Final = 0.5
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class _Stat(NamedTuple):
    parent: int
    own: float
    ended_children: float


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    user, system, children_user, children_system = (int(field) / _TICKS for field in fields[11:15])
    return _Stat(int(fields[1]), user + system, children_user + children_system)


def cpu_seconds(pid: int) -> float:
    """User and system time of the process, of its children, and of those of them that have ended."""
    root = _stat(pid)
    if root is None:
        return 0.0
    children = (_stat(int(entry)) for entry in os.listdir("/proc") if entry.isdecimal())
    return root.own + root.ended_children + sum(c.own + c.ended_children for c in children if c is not None and c.parent == pid)


def tree_mib(pid: int) -> float:
    """MiB of the process and its children, what they share counted once (PSS); 0.0 where the kernel does not tell."""
    found = 0
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (int(entry) == pid or ((stat := _stat(int(entry))) is not None and stat.parent == pid)):
            try:
                lines = Path(f"/proc/{entry}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            found += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found / 1024


def memory_mib(pid: int | str = "self") -> tuple[float, float]:
    """(resident now, the most it has been), in MiB."""
    found = {}
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("VmRSS", "VmHWM"):
                found[name] = int(value.split()[0]) / 1024
    except OSError:
        return 0.0, 0.0
    return found.get("VmRSS", 0.0), found.get("VmHWM", 0.0)


class Memory(NamedTuple):
    """MiB: resident at the end, the most it has been, and as sampled each half second (thinned to at most 40)."""

    end: float
    peak: float
    samples: Sequence[float]


@dataclass
class Watch:
    """Within ``async with``: what ``processes`` (by name) use meanwhile. ``cpu`` and ``memory`` stand afterwards."""

    processes: Mapping[str, int]
    cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    seconds: float = 0.0
    trees_mib: dict[str, float] = field(default_factory=dict)
    """At the end, of each process with its children."""
    _begun: dict[str, float] = field(default_factory=dict)
    _samples: dict[str, list[float]] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self._start = time.perf_counter()
        self._begun = {name: cpu_seconds(pid) for name, pid in self.processes.items()}
        self._samples = {name: [] for name in self.processes}
        self._task = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        self.seconds = time.perf_counter() - self._start
        for name, pid in self.processes.items():
            self.cpu[name] = cpu_seconds(pid) - self._begun[name]
            now, peak = memory_mib(pid)
            samples = [*self._samples[name], now]
            self.memory[name] = Memory(now, peak, [round(sample, 1) for sample in samples[:: -(-len(samples) // 40)]])
        self.trees_mib = {name: round(tree_mib(pid), 1) for name, pid in self.processes.items()}

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            for name, pid in self.processes.items():
                self._samples[name].append(memory_mib(pid)[0])
