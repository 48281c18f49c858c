"""The intake's benchmark at its small size: every part runs, and all that was accepted is stored. No times are held."""

import json
import subprocess
import sys
from pathlib import Path

from deploy.local.parts import ROOT


def test_every_part_runs_and_nothing_accepted_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "deploy.local", "bench", "intake", "--quick", "--overload", "--json", str(file)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stderr[-3000:]
    report = json.loads(file.read_text(encoding="utf-8"))
    assert [row["name"] for row in report["rows"]] == ["batches-ours", "batches-bare", "single-ours", "single-bare"]
    for row in report["rows"]:
        assert row["requests"] * (500 if row["name"].startswith("batches") else 1) == row["events"]
        assert set(row["cpu_us_per_event"]) == {"api", "kafka", "client"}
        assert (row["of_bare"]["events_per_second"] == 1) or row["name"].endswith("ours")
    overload = report["overload"]
    assert overload["missing"] == 0
    assert overload["accepted_events"] > 0
    assert set(overload["requests"]) <= {"offered", "late", "202", "429", "503"}
    assert "--quick" in report["command"]
