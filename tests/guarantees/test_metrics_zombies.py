"""Workers that write to partitions which are no longer theirs.

What may be observed: the database fences them out; the figures are exact; a worker that hangs inside a transaction keeps
nobody waiting for long.
"""

import asyncio
import os
import signal
import time

import asyncpg

from tests import load
from tests.guarantees.scene import Measured, Scene, metric
from tests.metrics_support import until

STOPPED_SECONDS = 60.0
FENCED = ("onething_consumer_failures_total", 'error="Fenced"')

WAITING = """
select 1 from pg_stat_activity
where datname = current_database() and application_name = 'metrics-worker' and wait_event_type = 'Lock' and state = 'active'
"""


async def test_a_worker_that_stood_still_while_another_took_over_is_fenced_out(scene: Scene, measured: Measured) -> None:
    distinct, arriving = load.season(31, cases=1500)
    third = len(arriving) // 3
    # With one connection, one partition is inside its transaction when the worker stops; the others are about to begin theirs.
    zombie = await scene.worker(POOL_SIZE="1")
    await scene.send(arriving[:third])
    await scene.until_taken(third)
    holder = await asyncpg.connect(scene.database.admin_dsn, server_settings={"search_path": "metrics"})
    try:
        async with holder.transaction():
            await holder.execute("lock table cases in exclusive mode")
            await scene.send(arriving[third : 2 * third])

            async def writing() -> bool:
                return bool(await scene.query(WAITING))  # in its own transaction the holder would see the past

            await until(writing)
            await asyncio.sleep(1)  # for the other partitions' records to be read
            os.kill(zombie.pid, signal.SIGSTOP)
        stopped = time.monotonic()
    finally:
        await holder.close()
    try:
        heir = await scene.worker()
        await scene.until_taken(2 * third)
        measured("a stopped worker's partitions, one of them inside a transaction, were taken over", time.monotonic() - stopped)
        await asyncio.sleep(max(0.0, stopped + STOPPED_SECONDS - time.monotonic()))
    finally:
        os.kill(zombie.pid, signal.SIGCONT)

    async def fenced() -> bool:
        return await metric(zombie, *FENCED) > 0

    await until(fenced)
    await scene.send(arriving[2 * third :])
    await scene.until_taken(len(arriving))
    assert await metric(heir, "onething_consumer_records_total") > 0
    await scene.exact(distinct)


async def test_workers_that_know_nothing_of_each_other_count_once_together(scene: Scene) -> None:
    distinct, arriving = load.season(32, cases=2500)
    workers = [await scene.worker_of_its_own(BATCH_RECORDS="100") for _ in range(2)]
    await scene.send(arriving, pace=0.05)
    await scene.until_taken(len(arriving))
    fenced = [await metric(worker, *FENCED) for worker in workers]
    assert sum(fenced) > 0, "they never met: this proved nothing"
    await scene.exact(distinct)
