"""PostgreSQL on one machine, as an ordinary user even when the caller is root."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from deploy.local.parts import LOOPBACK, Part, StackError, base_environment
from shared.postgres import Unavailable

OLDEST_MAJOR: Final = 15
ADMIN: Final = "onething_admin"
"""The superuser of the local cluster; the services never have its password, save while they migrate."""

ORPHANS_SECONDS: Final = 30.0
"""How long the sessions of a killed server may take to end."""

UNPRIVILEGED: Final = ("postgres", "nobody")

SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a deep state folder would make too long a path for a socket
    "max_connections": "200",
    "max_wal_size": "6GB",  # a checkpoint too often would have each page that is touched logged whole again
    "checkpoint_timeout": "15min",
    "password_encryption": "scram-sha-256",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %u@%d ",
    "log_checkpoints": "off",
    "timezone": "UTC",
}

MOST_BUFFERS_MIB: Final = 4096
FEWEST_BUFFERS_MIB: Final = 128

NOT_DURABLE: Final = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "shared_buffers": "256MB"}
"""For tests: a killed process still loses nothing, only a crash of the machine would."""


def binaries() -> tuple[Path, int]:
    """The folder with ``initdb`` and ``postgres``, and their major version: the highest that is installed.

    Raises:
        StackError: none is, or only one that is too old.
    """
    folders = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    folders += [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    found: dict[Path, int] = {}
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            real = (folder / "initdb").resolve().parent
            if real not in found:
                found[real] = _major(real / "postgres")
    if not found:
        raise StackError(
            f"PostgreSQL's server is missing: install version {OLDEST_MAJOR} or newer (package postgresql), then start again."
        )
    folder, major = max(found.items(), key=lambda entry: entry[1])
    if major < OLDEST_MAJOR:
        raise StackError(f"PostgreSQL {major} is too old: install version {OLDEST_MAJOR} or newer, then start again.")
    return folder, major


def _major(postgres: Path) -> int:
    said = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"(\d+)", said)
    return int(match[1]) if match else 0


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the server runs as: a prefix for its command, and the owner of its files."""

    prefix: tuple[str, ...]
    owner: tuple[int, int]


def identity(folder: Path) -> Identity:
    """Ourselves, unless we are root: then an ordinary user who may enter ``folder``, or root's files under a user's name.

    Raises:
        StackError: neither works on this machine.
    """
    if os.geteuid() != 0:
        return Identity((), (os.geteuid(), os.getegid()))
    users = []
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            users.append(pwd.getpwnam(name))
    for user in users:
        drop = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--")
        if _works(*drop, "test", "-x", str(folder)):
            return Identity(drop, (user.pw_uid, user.pw_gid))
    for user in users:
        # In a user namespace that maps root to this user, the server sees itself as an ordinary user and may still pass
        # through root's own folders.
        rename = ("unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}", "--")
        if _works(*rename, "test", "-x", str(folder)):
            return Identity(rename, (0, 0))
    raise StackError(
        f"PostgreSQL must not run as root, and no ordinary user may enter {folder}: set ONETHING_STATE_DIR to a folder that the"
        " user postgres or nobody may enter, or start as an ordinary user."
    )


def _works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, env=base_environment()).returncode == 0
    except FileNotFoundError:
        return False


def buffers_mib() -> int:
    """Memory for the server's own cache, in MiB: an eighth of the machine's, taken only as it fills."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return max(FEWEST_BUFFERS_MIB, min(MOST_BUFFERS_MIB, whole // 8))


@dataclass(frozen=True, slots=True)
class Database:
    """One cluster with everything it keeps in ``folder``. ``durable=False`` trades the machine's crash for speed."""

    folder: Path
    port: int
    password: str
    durable: bool = True

    def dsn(self, role: str, password: str, database: str = "onething") -> str:
        return f"postgresql://{role}:{password}@{LOOPBACK}:{self.port}/{database}"

    def admin_dsn(self, database: str = "onething") -> str:
        return self.dsn(ADMIN, self.password, database)

    def prepare(self) -> None:
        """Makes the cluster once; a half-made one is made again, for it holds nothing yet. Ends a server that outlived us.

        Raises:
            StackError: it was made by another major version, no user can run it, or initdb failed.
        """
        programs, major = binaries()
        complete = self.folder / "complete"
        if complete.exists() and (made_by := complete.read_text().strip()) != str(major):
            raise StackError(
                f"{self.folder} was made by PostgreSQL {made_by}, and the newest one here is {major}: install PostgreSQL {made_by},"
                " or remove the state folder to begin anew."
            )
        if not complete.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        who = identity(self.folder.parent)
        self._own(who.owner)
        self._end_leftover()
        if not complete.exists():
            self._initialise(programs, who)
            complete.write_text(str(major))

    def part(self, log: Path) -> Part:
        """The server as a part; ready when it takes the administrator's log-in."""
        programs, _ = binaries()
        settings = SETTINGS | {"port": str(self.port), "shared_buffers": f"{buffers_mib()}MB"}
        settings |= {} if self.durable else NOT_DURABLE
        if self._takes(programs, "wal_compression", "lz4"):
            # A page that is touched first since a checkpoint is logged whole. The older way of compressing it costs more
            # than all else that counting asks of the server (docs/decisions/0020-growth.md).
            settings |= {"wal_compression": "lz4"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Part(
            name="postgres",
            command=(str(programs / "postgres"), "-D", str(self._data), *options),
            run_as=identity(self.folder.parent).prefix,
            log=log,
            probe=self.answers,
            environment=base_environment() | {"LC_ALL": "C"},
            stop_signal=signal.SIGINT,  # "fast": ends sessions and writes all down
            stop_seconds=30.0,
            before_restart=lambda: self._end_leftover(log),
        )

    def _takes(self, programs: Path, name: str, value: str) -> bool:
        """Whether this build of PostgreSQL knows ``value`` for the setting ``name``; needs the cluster."""
        # "-C" comes first: only so it may be asked as root.
        asked = [str(programs / "postgres"), "-C", name, "-D", str(self._data), "-c", f"{name}={value}"]
        return subprocess.run(asked, capture_output=True, env=base_environment()).returncode == 0

    async def answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.admin_dsn("postgres"), timeout=3)
        except Unavailable:
            return False
        await connection.close()
        return True

    async def ensure(self, name: str) -> None:
        """Makes the database ``name`` unless it is there."""
        connection = await asyncpg.connect(self.admin_dsn("postgres"))
        try:
            if not await connection.fetchval("select 1 from pg_database where datname = $1", name):
                await connection.execute(f'create database "{name}"')
        finally:
            await connection.close()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _own(self, owner: tuple[int, int]) -> None:
        if os.geteuid() == 0 and (self.folder.stat().st_uid, self.folder.stat().st_gid) != owner:
            for path in (*_walk(self.folder), self.folder):
                os.chown(path, *owner, follow_symlinks=False)

    def _initialise(self, programs: Path, who: Identity) -> None:
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        os.chown(secret, *who.owner)
        try:
            run = subprocess.run(
                [
                    *who.prefix, str(programs / "initdb"), "-D", str(self._data), "--username", ADMIN, "--pwfile", str(secret),
                    "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions",
                    *(() if self.durable else ("--no-sync",)),
                ],
                capture_output=True, text=True, env=base_environment() | {"LC_ALL": "C"}, cwd="/",
            )  # fmt: skip
        finally:
            secret.unlink()
        if run.returncode:
            raise StackError(f"PostgreSQL's cluster could not be made in {self.folder}:\n{run.stdout[-1500:]}{run.stderr[-1500:]}")

    def _end_leftover(self, log: Path = Path(os.devnull)) -> None:
        """Ends a server of this very folder that is still there, and removes what a killed one left behind."""
        self._end_server()
        self._end_orphans(log)

    def _end_server(self) -> None:
        lock = self._data / "postmaster.pid"
        if not lock.exists():
            return
        first = lock.read_text().partition("\n")[0].strip()
        pid = int(first) if first.isdigit() else 0
        for attempt in range(100):
            if not pid or str(self._data) not in _command_line(pid):
                # Left by a kill. Its number may be another program's by now, which would keep the server from starting.
                lock.unlink(missing_ok=True)
                return
            if attempt == 0:
                os.kill(pid, signal.SIGINT)
            time.sleep(0.1)
        raise StackError(f"another PostgreSQL (pid {pid}) runs on {self._data} and does not stop: end it, then start again.")

    def _end_orphans(self, log: Path) -> None:
        """Ends the sessions of a killed server. Each goes by itself when it next looks up from its work; until the last has gone
        they hold the shared memory of this folder, and a new server refuses to start ("still in use")."""
        deadline = time.monotonic() + ORPHANS_SECONDS
        told: set[int] = set()
        while orphans := _sessions_on(self._data):
            if time.monotonic() > deadline:
                pids = ", ".join(map(str, sorted(orphans)))
                raise StackError(f"sessions of a killed PostgreSQL (pids {pids}) hold {self._data}: end them, then start again.")
            for pid in orphans - told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT)
                with log.open("a") as lines:
                    lines.write(f"onething: session {pid} of the killed server outlived it, and is told to end\n")
            told |= orphans
            time.sleep(0.05)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent) / name for name in (*folders, *files))


def _sessions_on(data: Path) -> set[int]:
    """The processes of PostgreSQL that work in ``data``; none where the system has no ``/proc``."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.joinpath("cwd").samefile(data) and process.joinpath("exe").readlink().name.split()[0] == "postgres":
                found.add(int(process.name))
    return found


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
