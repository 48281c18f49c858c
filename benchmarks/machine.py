"""What a run was made on: figures mean little without it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deploy.local.broker import KAFKA_VERSION


def describe(postgres_version: str) -> dict[str, Any]:
    """Cores, memory, kernel, versions, and how busy the machine was already."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _first("/proc/cpuinfo", "model name"),
        "memory_mib": int(_first("/proc/meminfo", "MemTotal").split()[0]) // 1024,
        "kernel": platform.release(),
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
        "versions": {
            "kafka": KAFKA_VERSION,
            "postgresql": postgres_version,
            "python": platform.python_version(),
            **{name: version(name) for name in ("aiokafka", "asyncpg", "faststream", "pydantic", "uvloop")},
        },
    }


def _first(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0 unknown"
