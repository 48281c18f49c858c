"""A run of ``./onething bench intake`` as a table, 80 columns wide."""

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

Report = dict[str, Any]


def table(report: Report) -> Group:
    """Rates, what they are of the bare route's, and CPU time an event; then the overload, where there was one."""
    shown = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("what", no_wrap=True)
    for heading in ("\nevents/s", "\n× bare", "µs CPU\nof api", "\n× bare", "µs of\nKafka", "µs of\nclient", "p50\nms", "p99\nms"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in report["rows"]:
        cpu = row["cpu_us_per_event"]
        shown.add_row(
            row["what"],
            f"{row['events_per_second']:,.0f}",
            f"{row['of_bare']['events_per_second']:.2f}",
            f"{cpu['api']:.1f}",
            f"{row['of_bare']['api_cpu_us']:.2f}",
            f"{cpu['kafka']:.1f}",
            f"{cpu['client']:.1f}",
            f"{row['latency']['p50_ms']:.0f}",
            f"{row['latency']['p99_ms']:.0f}",
        )
    memory = ", ".join(f"{row['what']} {row['peak_mib']:.0f}" for row in report["rows"])
    return Group(
        shown,
        Text(f"CPU is an event's; the most memory of the api's process, MiB: {memory}"),
        *map(Text, _overload(report["overload"])),
    )


def _overload(found: Report | None) -> list[str]:
    if found is None:
        return []
    requests = found["requests"]
    refused = ", ".join(f"{requests[status]:,} by {status}" for status in ("429", "503") if status in requests) or "none"
    samples = found["samples_mib"]
    quarter = max(1, len(samples) // 4)
    return [
        f"overload for {found['seconds']:,.0f} s: {found['offered_events_per_second']:,} events/s offered,"
        f" {found['accepted_events_per_second']:,} accepted",
        f"requests refused: {refused}; not sent, for every connection was waiting: {requests['late']:,}",
        f"memory: {samples[quarter]:.0f} MiB after a quarter, {samples[-1]:.0f} at the end, {found['peak_mib']:.0f} at the peak",
        f"of {found['accepted_events']:,} accepted events {found['missing']} are missing on the topic",
    ]
