"""The benchmark at its small size: every part runs, and what was counted is exact. No times are held."""

import json
import subprocess
import sys
from pathlib import Path

from deploy.local.parts import ROOT

NAMES = [
    "read", "copy-narrow", "copy-wide", "upsert-narrow", "upsert-wide", "naive", "batch", "worker", "reads", "paced",
]  # fmt: skip


def test_every_part_runs_and_every_count_is_exact(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "deploy.local", "bench", "metrics", "--quick", "--json", str(file)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stderr[-3000:]
    report = json.loads(file.read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == NAMES
    for name in ("worker", "reads", "paced"):
        checked = rows[name]["checked"]
        assert checked["wrong"] == checked["drift"] == 0
        # The older cases, and this run's own: each part counted on top of the one before.
        assert checked["cases"] > 1000
        assert 0 < rows[name]["end_mib"] <= rows[name]["peak_mib"]
    assert rows["worker"]["checked"]["cases"] == 11_000
    assert rows["reads"]["checked"]["cases"] == 21_000
    assert set(rows["paced"]["freshness"]) == {"p50_ms", "p99_ms", "max_ms", "n"}
    assert rows["paced"]["freshness"]["n"] == 20
    assert all(rows[name]["reads"][route]["n"] >= 10 for name in ("reads", "paced") for route in ("ranking", "counts"))
    assert report["machine"]["versions"]["kafka"]
    assert "--quick" in report["command"]
