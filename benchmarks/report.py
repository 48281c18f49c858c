"""A run's rows as a table, with what each is a multiple of."""

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

Report = dict[str, Any]


def ratios(rows: list[Report]) -> None:
    """Adds ``times_naive`` and ``of_bare_upsert`` (the wide row) to each row that has a rate; null without the rival."""
    rates = {row["name"]: row["events_per_second"] for row in rows}
    for row in rows:
        for name, rival in (("times_naive", "naive"), ("of_bare_upsert", "upsert-wide")):
            base, own = rates.get(rival), row["events_per_second"]
            # A paced run's rate is its pace, not its speed.
            row[name] = round(own / base, 2) if base and own and row["name"] != "paced" else None


def table(report: Report) -> Group:
    """For people, 80 columns wide."""
    title = f"{report['workload']['events']:,} events"
    shown = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left")
    shown.add_column("what", no_wrap=True)
    for heading in ("events/s", "× naive", "× bare\nupsert", "µs CPU an event:\nown + PG + Kafka", "peak\nMiB"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in report["rows"]:
        used = [(row["cpu_us_per_event"] or {}).get(of) for of in ("process", "postgres", "kafka")]
        shown.add_row(
            row["what"],
            _number(row["events_per_second"], 0),
            _number(row["times_naive"], 1),
            _number(row["of_bare_upsert"], 2),
            " + ".join(_number(each, 1 if each is None or each < 100 else 0) for each in used),
            _number(row.get("peak_mib"), 0),
        )
    return Group(shown, *(Text(line) for row in report["rows"] for line in notes(row)))


def notes(row: Report) -> list[str]:
    """What a row says beyond the table: latencies, freshness, memory over time, what was checked."""
    lines = []
    for route, found in row.get("reads", {}).items():
        lines.append(
            f"/v1/{route}: p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms, of {found['n']}, missed {found.get('missed', '–')}"
        )
    if found := row.get("freshness"):
        lines.append(f"accepted to visible: p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms, of {found['n']} probes")
    if samples := row.get("samples_mib"):
        middle = samples[len(samples) // 2]
        lines.append(f"memory: {samples[0]:.0f} MiB at the start, {middle:.0f} in the middle, {row['end_mib']:.0f} at the end")
    if found := row.get("checked"):
        cases, counters = (
            f"{found['cases']:,} cases recounted in {found['seconds']:.1f} s",
            f"{found['counters']:,} counters as expected",
        )
        lines.append(f"exact: {cases}, {counters}, drift 0")
    return [f"{row['what']} · {line}" for line in lines]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
