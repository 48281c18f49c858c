"""Kafka's storage and PostgreSQL's cluster: half-made ones are made again, leftovers of a kill do no harm."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from deploy.local.broker import KAFKA_VERSION, Broker, ensure_jars
from deploy.local.database import Database, binaries, identity
from deploy.local.parts import StackError, free_ports, start, stop, until_ready
from shared.postgres import Unavailable


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="onething-pieces-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


def test_a_half_formatted_broker_is_formatted_anew(folder: Path) -> None:
    ensure_jars()
    ports = free_ports()
    broker = Broker(folder / "kafka", next(ports), next(ports))
    (folder / "kafka/data").mkdir(parents=True)
    (folder / "kafka/data/meta.properties").write_text("half of a li")
    broker.prepare()
    made = (folder / "kafka/data/meta.properties").read_text()
    assert "cluster.id=" in made
    broker.prepare()
    assert (folder / "kafka/data/meta.properties").read_text() == made


def test_a_broker_of_another_version_is_refused(folder: Path) -> None:
    (folder / "kafka").mkdir()
    (folder / "kafka/complete").write_text("3.9.0")
    with pytest.raises(StackError, match=rf"Kafka 3\.9\.0, and this is {KAFKA_VERSION}"):
        Broker(folder / "kafka", 1, 2).prepare()


def test_a_cluster_of_another_major_version_is_refused(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres/complete").write_text("9")
    with pytest.raises(StackError, match="PostgreSQL 9"):
        Database(folder / "postgres", 1, "secret").prepare()


async def test_a_cluster_survives_half_making_killing_and_a_borrowed_pid(folder: Path) -> None:
    database = Database(folder / "postgres", next(free_ports()), "secret", durable=False)
    (folder / "postgres/data").mkdir(parents=True)
    (folder / "postgres/data/PG_VERSION").write_text("1")
    await asyncio.to_thread(database.prepare)
    assert not (folder / "postgres/password").exists()
    part = database.part(folder / "log")
    process = start(part)
    try:
        await until_ready(part, process, 30)
        await database.ensure("kept")
        # A session that never looks up from its work does not notice that the server is gone, and holds its shared memory.
        session = await asyncpg.connect(database.admin_dsn("kept"))
        working = asyncio.create_task(session.execute("do $$ begin loop perform 1; end loop; end $$"))
        await asyncio.sleep(0.5)
        stop(process, signal.SIGKILL, 10)
        assert not working.done()
        # The number of the killed server now belongs to somebody else: to us.
        lock = folder / "postgres/data/postmaster.pid"
        lock.write_text(lock.read_text().replace(str(process.pid), str(os.getpid()), 1))
        assert part.before_restart is not None
        await asyncio.to_thread(part.before_restart)
        assert f"session {session.get_server_pid()} of the killed server" in part.log.read_text()
        with pytest.raises(Unavailable):
            await working
        process = start(part)
        await until_ready(part, process, 30)
        await database.ensure("kept")
    finally:
        assert stop(process, part.stop_signal, part.stop_seconds)


async def test_a_server_that_outlived_its_supervisor_is_ended(folder: Path) -> None:
    database = Database(folder / "postgres", next(free_ports()), "secret", durable=False)
    await asyncio.to_thread(database.prepare)
    part = database.part(folder / "log")
    process = start(part)
    try:
        await until_ready(part, process, 30)
        ending = asyncio.create_task(asyncio.to_thread(process.wait, 20))
        await asyncio.to_thread(database.prepare)
        assert await ending == 0
    finally:
        stop(process, part.stop_signal, part.stop_seconds)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_runs_the_server_as_somebody_else_even_in_a_folder_of_its_own(folder: Path) -> None:
    folder.chmod(0o700)
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    assert "unshare" in identity(closed).prefix
    folder.chmod(0o711)
    closed.chmod(0o711)
    assert "setpriv" in identity(closed).prefix


def test_the_newest_server_is_chosen() -> None:
    folder, major = binaries()
    assert major >= 15
    assert (folder / "initdb").exists()
