"""A database that is put back, and a group that Kafka forgot.

What may be observed: the worker goes on from the database's own offsets, whatever Kafka's committed offsets say, and counts
up again to the same figures.
"""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import DeleteGroupsRequest

from deploy.local.database import binaries
from deploy.local.parts import base_environment
from tests import load
from tests.guarantees.scene import Scene, admin, once


def _run(program: str, *arguments: str) -> None:
    folder, _ = binaries()
    subprocess.run([str(folder / program), *arguments], check=True, capture_output=True, env=base_environment())


async def _put_back(scene: Scene, dump: Path) -> None:
    """Restores ``dump`` beside the database, then gives it the database's name, under workers that go on."""
    server, _, name = scene.database.admin_dsn.rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres")
    try:
        await connection.execute(f'create database "{name}_back"')
        await asyncio.to_thread(_run, "psql", "-v", "ON_ERROR_STOP=1", "-q", "-f", str(dump), f"{server}/{name}_back")
        await connection.execute(f'drop database "{name}" with (force)')
        await connection.execute(f'alter database "{name}_back" rename to "{name}"')
    finally:
        await connection.close()


async def test_a_database_put_back_from_an_earlier_dump_is_counted_up_again(scene: Scene, tmp_path: Path) -> None:
    distinct, arriving = load.season(61, cases=1500)
    third = len(arriving) // 3
    dump = tmp_path / "earlier.sql"
    worker = await scene.worker(BATCH_RECORDS="200")
    await scene.send(arriving[:third])
    await scene.until_taken(third)
    await asyncio.to_thread(_run, "pg_dump", "--file", str(dump), scene.database.admin_dsn)
    await scene.send(arriving[third : 2 * third])
    await scene.until_taken(2 * third)
    await _committed(scene, 2 * third)
    assert worker.terminate()
    await _put_back(scene, dump)
    assert await scene.taken() == third
    await worker.restart()
    await scene.send(arriving[2 * third :])
    await scene.until_taken(len(arriving))
    await scene.exact(distinct)


async def test_a_database_put_back_under_a_worker_that_goes_on_is_counted_up_again(scene: Scene, tmp_path: Path) -> None:
    distinct, arriving = load.season(62, cases=1500)
    half = len(arriving) // 2
    dump = tmp_path / "earlier.sql"
    await scene.worker(BATCH_RECORDS="200")
    await scene.send(arriving[:half])
    await scene.until_taken(half // 2)
    await asyncio.to_thread(_run, "pg_dump", "--file", str(dump), scene.database.admin_dsn)
    await scene.until_taken(half)
    await _put_back(scene, dump)
    # It reads its place again when the next records come.
    await scene.send(arriving[half:])
    await scene.until_taken(len(arriving))
    await scene.exact(distinct)


async def test_a_group_that_kafka_forgot_or_that_was_set_to_the_end_changes_nothing(scene: Scene) -> None:
    distinct, arriving = load.season(63, cases=1500)
    half = len(arriving) // 2
    await scene.send(arriving[:half])
    # Set to the end by somebody, before anything is counted.
    async with AIOKafkaConsumer(bootstrap_servers=scene.kafka, group_id=scene.group, enable_auto_commit=False) as consumer:
        ends = await scene.ends()
        consumer.assign(list(ends))
        await consumer.commit(ends)
    worker = await scene.worker()
    await scene.until_taken(half)
    await scene.exact([event for event in distinct if event in arriving[:half]])
    assert worker.terminate()
    async with admin(scene.kafka) as client:
        await _forget(client, scene.group)
        assert not await client.list_consumer_group_offsets(scene.group)
    await scene.send(arriving[half:])
    await worker.restart()
    await scene.until_taken(len(arriving))
    await scene.exact(distinct)


async def _committed(scene: Scene, records: int) -> None:
    """Waits until Kafka's committed offsets say that so many were counted."""

    async def so_many() -> bool:
        async with admin(scene.kafka) as client:
            found = await client.list_consumer_group_offsets(scene.group)
        return sum(place.offset for place in found.values()) == records

    await once(so_many)


async def _forget(client: AIOKafkaAdminClient, group: str) -> None:
    node = await client.find_coordinator(group)
    answer: Any = await client._send_request(DeleteGroupsRequest([group]), node)  # the client has no method of its own for it
    (_, code), *_ = answer.results
    if code:
        raise for_code(code)(group)
