"""``docs/metrics.md``: every metric with its meaning, made of ``shared/meters.py`` by ``./onething contracts``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.local.parts import ROOT
from shared import meters
from shared.meters import CATALOGUE, EDGES, PROCESSES, WORKERS, Entry, Process

FILE: Final = ROOT / "docs" / "metrics.md"

_HEAD: Final = """# Metrics

Generated from `shared/meters.py` by `./onething contracts`, never written by hand; a test fails when they differ.

Each process shows its own at `/metrics`, in Prometheus' text format; the workers at the port of their health. Beside them stand the
Python client's own: `process_…` (memory, CPU, open files), `python_…`. A histogram `x` has `x_bucket`, `x_sum` and `x_count`.
[`deploy/prometheus/`](../deploy/prometheus/) has the alerts, [operations.md](operations.md) what to do about each,
[`deploy/grafana/`](../deploy/grafana/) the dashboard.

Labels are few and never people's: topics, partitions, routes' templates, reasons, codes of counties and items.
"""

_GROUPS: Final[tuple[tuple[str, Sequence[Process]], ...]] = (
    ("Every process", PROCESSES),
    ("Every worker", WORKERS),
    ("The push edges", EDGES),
)


def page() -> str:
    """The page, in Markdown: a table for every process, one for the workers, one for the edges, and one for each process alone."""
    parts = [_HEAD]
    told: set[str] = set()
    for title, processes in (*_GROUPS, *((f"{p[0].upper()}{p[1:]}", (p,)) for p in PROCESSES)):
        rows = [entry for entry in CATALOGUE if entry.name not in told and set(processes) <= set(entry.where)]
        told |= {entry.name for entry in rows}
        if rows:
            parts.append(_table(title, rows, processes))
    return "\n".join(parts)


def differs(file: Path = FILE) -> bool:
    """Whether ``file`` is not what the code says."""
    return not file.exists() or file.read_text("utf-8") != page()


def _table(title: str, entries: Sequence[Entry], processes: Sequence[Process]) -> str:
    rows = "\n".join(_row(entry, processes) for entry in entries)
    return f"## {title}\n\n| metric | labels | unit | |\n|---|---|---|---|\n{rows}\n"


def _row(entry: Entry, processes: Sequence[Process]) -> str:
    labels = ", ".join(f"`{label}`" for label in entry.labels)
    others = [process for process in entry.where if process not in processes]
    also = f" Also shown by the {', '.join(others)}." if others else ""
    edges = f" Buckets: {_buckets(entry)}." if entry.kind == "histogram" else ""
    return f"| `{entry.name}` ({entry.kind}) | {labels} | {entry.unit} | {entry.help}{edges}{also} |"


def _buckets(entry: Entry) -> str:
    bounds = meters.REQUEST_BUCKETS if entry.metric is meters.REQUESTS else meters.AGE_BUCKETS
    return ", ".join(f"{bound:g}" for bound in bounds)
