"""promtool, with which Prometheus' own people check rules: it comes with ./onething test."""

import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.local.parts import ROOT


def promtool(*arguments: str | Path) -> str:
    """What promtool says; fails the test when it finds something wrong, or when it is not there."""
    own = ROOT / ".tools" / "promtool"
    program = shutil.which("promtool") or (str(own) if own.exists() else None)
    if program is None:
        pytest.fail("promtool is missing: ./onething test fetches it, or install it (Debian's package prometheus)")
    run = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout
