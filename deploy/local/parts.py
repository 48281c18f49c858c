"""A part of the stack: a program with a log of its own, how to see that it is ready, and how it is stopped."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
"""The repository's root: where the services are started, and the tools are kept."""

LOOPBACK: Final = "127.0.0.1"
LONGEST_PROBE_SECONDS: Final = 5.0


class StackError(Exception):
    """The stack cannot go on. The message is one sentence or two that say what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """One program. ``environment`` is all that it gets; ``probe`` says whether it is ready, and never raises."""

    name: str
    command: tuple[str, ...]
    log: Path
    probe: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 20.0
    run_as: tuple[str, ...] = ()
    """A command that runs ``command`` as another user."""
    before_restart: Callable[[], None] | None = None
    """What has to be tidied up after it died."""


def base_environment() -> dict[str, str]:
    """What any program needs of ours, and nothing that names a secret."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "JAVA_HOME", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _guard(stop_signal: signal.Signals) -> list[str]:
    """A command that runs another, which the kernel sends ``stop_signal`` when we die, even of SIGKILL.

    The kernel watches the thread that starts the program: in another thread than the main one it is left out.
    """
    if threading.current_thread() is not threading.main_thread() or shutil.which("setpriv") is None:
        return []
    return ["setpriv", "--pdeathsig", stop_signal.name.removeprefix("SIG"), "--"]


def start(part: Part) -> subprocess.Popen[bytes]:
    """Starts ``part`` in a session of its own, so that the terminal's Ctrl-C reaches us alone and the order of stopping is ours.

    Raises:
        StackError: its program is not there.
    """
    with part.log.open("ab") as log:
        try:
            return subprocess.Popen(
                # The guard stands inside: becoming another user takes it away.
                [*part.run_as, *_guard(part.stop_signal), *part.command],
                cwd=ROOT,
                env=dict(part.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise StackError(f"{part.name} cannot be started: {error.filename} is missing. Install it, then start again.") from None


async def until_ready(part: Part, process: subprocess.Popen[bytes], seconds: float) -> None:
    """Returns when ``part`` is ready.

    Raises:
        StackError: it ended, or was not ready in time; the message holds the end of its log.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_PROBE_SECONDS):
                if await part.probe():
                    return
        if process.poll() is not None:
            raise StackError(
                f"{part.name} ended with {ending(process)} before it was ready; its log {part.log} ends:\n{tail(part.log)}"
            )
        if time.monotonic() > deadline:
            raise StackError(f"{part.name} was not ready within {seconds:.0f} s; its log {part.log} ends:\n{tail(part.log)}")
        await asyncio.sleep(0.1)


def stop(process: subprocess.Popen[bytes], stop_signal: signal.Signals, seconds: float) -> bool:
    """Ends ``process``: asks, waits, and kills what does not end in ``seconds``. Gives whether asking was enough."""
    if process.poll() is not None:
        return True
    process.send_signal(stop_signal)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def ending(process: subprocess.Popen[bytes]) -> str:
    """How it ended, in words: ``exit code 3`` or ``SIGKILL``."""
    code = process.returncode
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def tail(log: Path, lines: int = 12, most_bytes: int = 16_384) -> str:
    """The last ``lines`` of a log, each indented."""
    if not log.exists():
        return "  (no log)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - most_bytes))
        text = file.read().decode(errors="replace")
    return "\n".join(f"  {line[:400]}" for line in text.splitlines()[-lines:]) or "  (empty)"


async def port_answers(port: int) -> bool:
    """Whether something on this machine takes connections there."""
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def port_is_free(port: int) -> bool:
    """Whether we could listen there. Connections that linger after a stop do not count, nor do they for the servers."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen()
        except OSError:
            return False
    return True


def free_ports() -> Iterator[int]:
    """Free ports below the range that the kernel draws clients' ports from, so that no connection takes one before we do."""
    ports = list(range(15_000, 32_000))
    random.shuffle(ports)
    return (port for port in ports if port_is_free(port))
