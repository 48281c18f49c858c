"""The formulas of docs/scale.md, by hand-made figures."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.scale import CITY, NATION, PROVINCE, Measured, needs
from deploy.local.__main__ import app

REPORT = {
    "workload": {"bytes_per_event_with_key_and_headers": 700},
    "rows": [
        {"name": "read"},
        {
            "name": "worker", "events_per_second": 40_000.0, "wal_bytes_per_event": 500,
            "cpu_us_per_event": {"process": 20.0, "postgres": 25.0, "kafka": 5.0},
            "database": {"cases": 1000, "cases_table": 900_000, "cases_indexes": 100_000},
        },
    ],
}  # fmt: skip


def test_a_province_brings_what_the_document_says() -> None:
    assert (PROVINCE.cases_a_year, PROVINCE.events_a_year) == (35_000_000, 140_000_000)
    assert round(PROVINCE.peak_per_second) == 194
    assert round(NATION.peak_per_second, -2) == 3900
    assert round(CITY.peak_per_second) == 31


def test_needs_follow_from_what_was_measured() -> None:
    found = needs(PROVINCE, Measured.of(REPORT))
    assert found.cores_at_peak == pytest.approx(194.44 * 50e-6, rel=1e-3)
    assert found.headroom == pytest.approx(205.7, rel=1e-3)
    assert found.log_gb_a_year == pytest.approx(98)
    assert found.cases_gb_kept == pytest.approx(175)
    assert found.wal_mb_per_second_at_peak == pytest.approx(0.0972, rel=1e-3)
    assert found.daily_counters_kept == 180 * 40 * 365 * 5
    assert found.recount_hours == pytest.approx(4.861, rel=1e-3)


def test_the_command_shows_them_and_refuses_another_file(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(REPORT))
    shown = CliRunner().invoke(app, ["bench", "scale", str(file)])
    assert shown.exit_code == 0
    assert "70,000,000 people" in shown.output
    assert "194.44" in shown.output
    file.write_text("{}")
    assert CliRunner().invoke(app, ["bench", "scale", str(file)]).exit_code == 2
