"""Workers that are killed, at any moment and in the middle of a commit.

What may be observed: each case counts once, whatever a dead worker had read, written or half committed; its partitions
move on within seconds.
"""

import asyncio
import random
import time

import asyncpg
import pytest

from tests import load
from tests.conftest import RunningService
from tests.guarantees.scene import Measured, Scene, metric, moments
from tests.metrics_support import until
from tests.oracle import Event

SMALL = "25"
"""Records a batch: a kill meets one transaction of very many."""

# Holds every commit of the worker between its last statement and its end, for as long as the test holds the lock.
HOLD_COMMITS = """
create function hold() returns trigger language plpgsql security definer as $$
begin
    perform pg_advisory_xact_lock_shared(4711);
    return null;
end $$;
create constraint trigger hold_commits after update on offsets deferrable initially deferred for each row execute function hold();
"""
IN_COMMIT = """
select pid from pg_stat_activity
where datname = current_database() and application_name = 'metrics-worker' and query ilike 'commit%' and wait_event_type = 'Lock'
"""


@pytest.mark.parametrize("first_seed", [1, 6, 11, 16])
async def test_a_worker_killed_at_any_moment_loses_and_doubles_nothing(first_seed: int, scene: Scene) -> None:
    told: list[Event] = []
    before = in_time = 0
    worker = await scene.worker_of_its_own(BATCH_RECORDS=SMALL)
    for seed in range(first_seed, first_seed + 5):
        draw = random.Random(seed)
        distinct, arriving = load.season(seed, cases=400)
        told += distinct
        goal, delay = moments(draw, len(arriving))
        sending = asyncio.create_task(scene.send(arriving))
        await scene.until_taken(before + goal)
        await asyncio.sleep(delay)
        worker.kill()
        in_time += await scene.taken() < before + len(arriving)
        worker = await scene.worker_of_its_own(BATCH_RECORDS=SMALL)
        await sending
        before += len(arriving)
        await scene.until_taken(before)
        await scene.exact(told)
    assert in_time >= 3, "most kills came when all was counted: they prove nothing"


@pytest.mark.parametrize("seed", [21, 22, 23])
async def test_a_worker_killed_in_the_middle_of_its_commits_counts_once_whether_they_came_through_or_not(
    seed: int, scene: Scene
) -> None:
    draw = random.Random(seed)
    distinct, arriving = load.season(seed, cases=600)
    first = await scene.worker_of_its_own()
    await scene.send(arriving[:10])
    await scene.until_taken(10)
    holder = await asyncpg.connect(scene.database.admin_dsn, server_settings={"search_path": "metrics"})
    try:
        await holder.execute(HOLD_COMMITS)
        await holder.execute("select pg_advisory_lock(4711)")
        await scene.send(arriving[10:])

        async def committing() -> bool:
            return len(await holder.fetch(IN_COMMIT)) >= 2

        await until(committing)
        first.kill()
        second = asyncio.create_task(scene.worker_of_its_own())
        await asyncio.sleep(draw.random() * 3)  # the second may already wait behind the dead one's locks, or not
        held = [row["pid"] for row in await holder.fetch(IN_COMMIT)]
        assert len(held) >= 2
        # Some of the dead worker's commits never come through; the others do, though nobody hears of it.
        for pid in draw.sample(held, k=len(held) // 2):
            await holder.execute("select pg_terminate_backend($1)", pid)
        await holder.execute("select pg_advisory_unlock(4711)")
        await second
        await scene.until_taken(len(arriving))
        await holder.execute("drop trigger hold_commits on offsets")
    finally:
        await holder.close()
    await scene.exact(distinct)


async def test_the_partitions_of_a_killed_worker_move_on_within_seconds(scene: Scene, measured: Measured) -> None:
    distinct, arriving = load.season(24, cases=6000)
    first, second = await scene.worker(BATCH_RECORDS="50"), await scene.worker(BATCH_RECORDS="50")
    sending = asyncio.create_task(scene.send(arriving, pace=0.1))

    await both_work(first, second)
    first.kill()
    stood = await scene.positions()
    killed = time.monotonic()

    async def all_moved() -> bool:
        now = await scene.positions()
        return all(now[partition] > stood[partition] for partition in stood)

    await until(all_moved, 40)
    measured("a killed worker's partitions moved on", time.monotonic() - killed)
    await sending
    await scene.until_taken(len(arriving))
    await scene.exact(distinct)


async def both_work(first: RunningService, second: RunningService) -> None:
    """Waits until each of the two counts records."""

    async def counting() -> bool:
        before = [await metric(worker, "onething_consumer_records_total") for worker in (first, second)]
        await asyncio.sleep(0.5)
        after = [await metric(worker, "onething_consumer_records_total") for worker in (first, second)]
        return all(now > then for now, then in zip(after, before, strict=True))

    await until(counting, 40)
