"""Supervision, tried on small real programs."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.parts import ROOT, Part, StackError, base_environment
from deploy.local.supervise import Supervisor, backoff


def part(name: str, log: Path, program: str, ready: Callable[[], bool] = lambda: True) -> Part:
    async def probe() -> bool:
        return ready()

    return Part(name, (sys.executable, "-c", program), log, probe, base_environment(), stop_seconds=5.0)


def alive(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.05)


def test_backoff_doubles_up_to_half_a_minute() -> None:
    assert [backoff(deaths) for deaths in range(1, 9)] == [1, 2, 4, 8, 16, 30, 30, 30]


async def test_a_part_that_dies_is_named_with_the_end_of_its_log_and_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    pids = tmp_path / "pids"
    program = (
        f"import os, time; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); print('[last] words', flush=True); time.sleep(60)"
    )
    supervisor = Supervisor(said.append)
    try:
        await supervisor.start(part("writer", tmp_path / "log", program, pids.exists))
        os.kill(int(pids.read_text()), signal.SIGKILL)
        await until(lambda: any("ready again" in line for line in said))
        await until(lambda: len(pids.read_text().split()) == 2)
    finally:
        await supervisor.stop([])
    told = next(line for line in said if "died" in line)
    assert "writer died (SIGKILL)" in told
    assert r"\[last] words" in told
    assert not any(alive(pid) for pid in pids.read_text().split())


async def test_a_part_that_ends_before_it_is_ready_fails_the_start_with_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda _: None)
    with pytest.raises(StackError, match=r"mute ended with exit code 3(.|\n)*no such table"):
        await supervisor.start(part("mute", tmp_path / "log", "print('no such table'); raise SystemExit(3)", lambda: False))
    await supervisor.stop([])


async def test_a_part_that_does_not_stop_is_killed_and_said_so(tmp_path: Path) -> None:
    said: list[str] = []
    deaf = tmp_path / "deaf"
    program = f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(deaf)!r}, 'w'); time.sleep(60)"
    stubborn = part("stubborn", tmp_path / "log", program, deaf.exists)
    object.__setattr__(stubborn, "stop_seconds", 0.3)
    supervisor = Supervisor(said.append)
    await supervisor.start(stubborn)
    await supervisor.stop([["stubborn"]])
    assert "was killed" in said[-1]


def test_a_part_ends_with_the_one_who_started_it_even_by_sigkill(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    starter = f"""
import asyncio, sys, time
from pathlib import Path
from deploy.local.parts import Part, base_environment, start
async def ready(): return True
sleep = (sys.executable, "-c", "import time; time.sleep(60)")
part = Part("sleeper", sleep, Path({str(tmp_path / "log")!r}), ready, base_environment())
Path({str(pid)!r}).write_text(str(start(part).pid))
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", starter], cwd=ROOT)
    wait_for(lambda: pid.exists() and pid.read_text() != "")
    assert alive(pid.read_text())
    process.kill()
    process.wait()
    wait_for(lambda: not alive(pid.read_text()))


async def test_groups_stop_in_their_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    supervisor = Supervisor(lambda _: None)

    def named(name: str) -> Part:
        up = tmp_path / name
        program = (
            "import signal, sys, time\n"
            f"def end(*_):\n    time.sleep(0.2); open({str(order)!r}, 'a').write('{name} '); sys.exit()\n"
            f"signal.signal(15, end); open({str(up)!r}, 'w')\nwhile True: time.sleep(60)"
        )
        return part(name, tmp_path / f"{name}.log", program, up.exists)

    await supervisor.start(named("database"), named("service"))
    begun = time.monotonic()
    await supervisor.stop([["service"]])
    assert time.monotonic() - begun < 5
    assert order.read_text().split() == ["service", "database"]
