"""How a rival, a process of its own, is told what to do, and says what it measured."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

import orjson

from benchmarks.usage import cpu_seconds, memory_mib

GIVEN: Final = "ONETHING_BENCH"
"""The variable that tells it, as JSON."""


def given() -> dict[str, Any]:
    """What this process is told."""
    told: dict[str, Any] = orjson.loads(os.environ[GIVEN])
    return told


def say(measured: dict[str, Any]) -> None:
    """Prints what was measured as the last line, for whoever started this process."""
    sys.stdout.write("\n" + orjson.dumps(measured, option=orjson.OPT_NON_STR_KEYS).decode() + "\n")


class Clock:
    """Adds up what passes between :meth:`start` and :meth:`stop`: wall time, and CPU time, our own and that of the servers."""

    def __init__(self, servers: Mapping[str, int]) -> None:
        self._servers = servers
        self._wall = 0.0
        self._cpu = dict.fromkeys(("process", *servers), 0.0)

    def start(self) -> None:
        self._cpu_from = self._used()
        self._from = time.perf_counter()

    def stop(self) -> None:
        self._wall += time.perf_counter() - self._from
        for name, used in self._used().items():
            self._cpu[name] += used - self._cpu_from[name]

    def _used(self) -> dict[str, float]:
        return {"process": time.process_time(), **{name: cpu_seconds(pid) for name, pid in self._servers.items()}}

    def measured(self, events: int) -> dict[str, Any]:
        """What it took for ``events``."""
        return {"events": events, "seconds": self._wall, "cpu_seconds": self._cpu, "peak_mib": memory_mib()[1]}

    def say(self, events: int) -> None:
        """Prints, as the last line, what it took for ``events``."""
        say(self.measured(events))
