"""``./onething up`` as a user meets it: real processes on a state folder and ports of this test's own."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.parts import LOOPBACK, ROOT, port_is_free
from deploy.local.stack import Ports
from deploy.local.state import held

START_SECONDS = 150.0
PARTS = {
    "kafka",
    "postgres",
    *(f"{service} {process}" for service in ("intake", "utilities", "metrics") for process in ("api", "worker")),
}


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder that PostgreSQL's user may enter, as pytest's own temporary folders may not be."""
    with tempfile.TemporaryDirectory(prefix="onething-e2e-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "state"


@pytest.fixture
def base() -> int:
    """A port base whose ports are all free, below the kernel's range for clients."""
    return next(base for base in range(15_000 + os.getpid() % 97 * 100, 31_000, 20) if all(map(port_is_free, Ports(base).all())))


class Up:
    """One run of ``./onething up``."""

    def __init__(self, state: Path, base: int) -> None:
        self.state = state
        self.output = state.with_name(f"output-{time.monotonic_ns()}")
        environment = os.environ | {"ONETHING_STATE_DIR": str(state), "ONETHING_PORT_BASE": str(base)}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [ROOT / "onething", "up"], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def until(self, what: str, condition: Callable[[], Any], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s; it said:\n{self.said}"
            time.sleep(0.1)

    def until_ready(self) -> dict[str, Any]:
        endpoints = self.state / "endpoints.json"
        self.until("ready", lambda: endpoints.exists() or self.process.poll() is not None, START_SECONDS)
        assert self.process.poll() is None, self.said
        read: dict[str, Any] = json.loads(endpoints.read_text())
        return read

    def children(self) -> dict[int, str]:
        """Process id and command line of each part."""
        found = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(status.read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid:
                    found[int(status.parent.name)] = (status.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            finally:
                self.process.kill()


@pytest.fixture
def up(state: Path, base: int) -> Iterator[Up]:
    run = Up(state, base)
    yield run
    run.end()


def refusal(state: Path, base: int | str) -> str:
    """What a start says that is refused."""
    environment = os.environ | {"ONETHING_STATE_DIR": str(state), "ONETHING_PORT_BASE": str(base)}
    run = subprocess.run([ROOT / "onething", "up"], env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    return run.stderr


def test_up_runs_all_restarts_what_dies_and_stops_cleanly(up: Up, state: Path, base: int) -> None:
    endpoints = up.until_ready()

    assert stat.S_IMODE((state / "endpoints.json").stat().st_mode) == 0o600
    assert endpoints["intake"] == f"http://127.0.0.1:{base + 1}"
    assert endpoints["utilities"] == f"http://127.0.0.1:{base + 2}"
    assert endpoints["metrics"] == f"http://127.0.0.1:{base + 3}"
    assert endpoints["kafka"] == f"127.0.0.1:{base + 4}"
    assert endpoints["postgres"].startswith("postgresql://")
    assert endpoints["senders"]["hebei-onething"]["source"] == "urn:onething:province:hebei"
    assert endpoints["senders"]["hebei-onething"]["secret"].startswith("whsec_")
    assert endpoints["companies"]
    assert all(company["secret"].startswith("whsec_") for company in endpoints["companies"].values())
    assert endpoints["reader_token"] != endpoints["operator_token"]
    up.until("told", lambda: "endpoints.json" in up.said)
    assert set(re.findall(r"✓ (\w+(?: \w+)?) +ready in", up.said)) == PARTS
    for file in ("secrets.json", "senders.json", "companies.json"):
        assert stat.S_IMODE((state / file).stat().st_mode) == 0o600

    # The services answer, with the tokens that the file names.
    counts = f"{endpoints['metrics']}/v1/counts?item=disabled-service&group_by=county"
    assert httpx.get(counts).status_code == 401
    rows = httpx.get(counts, headers={"authorization": f"Bearer {endpoints['reader_token']}"}).json()["rows"]
    assert len(rows) == 22

    said = refusal(state, base + 40)
    assert f"(pid {up.process.pid})" in said

    parts = up.children()
    assert len(parts) == len(PARTS)
    worker = next(pid for pid, command in parts.items() if "services.metrics.main worker" in command)
    os.kill(worker, signal.SIGKILL)
    up.until("named", lambda: "metrics worker died (SIGKILL)" in up.said)
    assert str(state / "logs/metrics-worker.log") in up.said.replace("\n", "")
    up.until("restarted", lambda: "metrics worker is ready again" in up.said)
    assert httpx.get(f"http://127.0.0.1:{base + 13}/readyz").status_code == 200

    parts = up.children()
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(60) == 0, up.said
    assert not [command for pid, command in parts.items() if Path(f"/proc/{pid}").exists()]
    assert not (state / "endpoints.json").exists()
    assert "killed" not in up.said


def test_a_killed_supervisor_takes_its_parts_along_and_the_state_goes_on(up: Up, state: Path, base: int) -> None:
    tokens = up.until_ready()["reader_token"]
    parts = up.children()
    assert len(parts) == len(PARTS)

    up.process.kill()
    up.process.wait()
    up.until("all parts end", lambda: not any(Path(f"/proc/{pid}").exists() for pid in parts))

    again = Up(state, base)
    try:
        assert again.until_ready()["reader_token"] == tokens
    finally:
        again.end()


def test_a_taken_port_is_named_with_its_part(state: Path, base: int) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((LOOPBACK, base + 4))
        other.listen()
        said = refusal(state, base)
    assert f"port {base + 4} (kafka)" in said
    assert "ONETHING_PORT_BASE" in said


def test_a_state_folder_in_use_is_refused_with_its_holder(state: Path, base: int) -> None:
    with held(state):
        assert f"(pid {os.getpid()})" in refusal(state, base)


def test_a_folder_of_something_else_is_left_alone(state: Path, base: int) -> None:
    state.mkdir()
    (state / "letters.txt").write_text("dear sir")
    assert "is not a state folder" in refusal(state, base)
    assert [file.name for file in state.iterdir()] == ["letters.txt"]


def test_a_port_base_that_is_no_number_is_refused(state: Path) -> None:
    assert "ONETHING_PORT_BASE" in refusal(state, "many")


def test_help_names_each_command_with_an_example() -> None:
    for command in ("up", "demo", "test"):
        run = subprocess.run([ROOT / "onething", command, "--help"], capture_output=True, text=True, timeout=60)
        assert run.returncode == 0
        assert "Example:" in run.stdout
        assert f"./onething {command}" in run.stdout
    overview = subprocess.run([ROOT / "onething", "--help"], capture_output=True, text=True, timeout=60)
    assert all(f"./onething {command}" in overview.stdout for command in ("up", "demo", "test"))
