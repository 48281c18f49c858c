"""What the benchmark says of a run, and how its command answers a mistake."""

import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.clients import percentiles
from benchmarks.prefill import shape
from benchmarks.report import ratios, table
from benchmarks.rows import row
from benchmarks.stage import BenchError
from deploy.local.__main__ import app


def test_percentiles_are_of_what_was_measured_and_nothing_is_no_zero() -> None:
    assert percentiles([n / 1000 for n in range(1, 101)]) == {"p50_ms": 50, "p99_ms": 99, "max_ms": 100, "n": 100}
    assert percentiles([0.004]) == {"p50_ms": 4, "p99_ms": 4, "max_ms": 4, "n": 1}
    with pytest.raises(BenchError, match="nothing was measured"):
        percentiles([])


def test_each_rate_is_set_beside_the_naive_and_the_bare_one() -> None:
    cpu = {"process": 0.5, "postgres": 1.0, "kafka": 0.1}
    rows = [row("naive", "n", 100, 1, cpu), row("upsert-wide", "u", 5000, 0.5, cpu), row("worker", "w", 40_000, 1, cpu)]
    rows.append(row("paced", "p", 2000, 1, cpu))
    rows.append(row("reads", "r", 0, 0, cpu))
    ratios(rows)
    assert [r["times_naive"] for r in rows] == [1, 100, 400, None, None]
    assert [r["of_bare_upsert"] for r in rows] == [0.01, 1, 4, None, None]
    assert rows[2]["cpu_us_per_event"] == {"process": 12.5, "postgres": 25, "kafka": 2.5}
    assert rows[4]["events_per_second"] is None


def test_the_table_fits_a_terminal_and_shows_what_is_not_known_as_a_dash() -> None:
    rows = [
        row("worker", "this worker, paced", 600_000, 0.7, {"process": 500.0, "postgres": 5000.0, "kafka": 50.0})
        | {"peak_mib": 300.0}
    ]
    ratios(rows)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table({"workload": {"events": 600_000}, "rows": rows}))
    shown = console.export_text()
    assert "857,143" in shown
    assert "–" in shown
    assert "…" not in shown


def test_stored_cases_are_copies_of_few_that_were_counted() -> None:
    for stored in (100, 1000, 99_999, 100_000, 1_000_000, 5_000_000):
        cases, copies = shape(stored)
        assert 1 <= cases <= 20_000
        assert stored * 0.9 <= cases * copies <= stored


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--only", "speed"], "no such part: speed"), (["--events", "10", "--cases", "2"], "one to three events")],
)
def test_a_mistake_is_answered_before_anything_starts(arguments: list[str], said: str) -> None:
    answer = CliRunner().invoke(app, ["bench", "metrics", *arguments])
    assert answer.exit_code == 2
    assert said in " ".join(answer.output.split())
