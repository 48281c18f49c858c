"""A log that is not the one that was counted: cut at its beginning, emptied, or made anew under the same name.

What may be observed: the worker stops before it counts anything of it, ``/readyz`` says why and what to do, and the figures
stay as they were.
"""

import asyncio

from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from deploy.local.topics import create_topics, delete_topics
from tests import load
from tests.conftest import RunningService
from tests.guarantees.scene import Scene, admin, once, until_halted


async def _cut(scene: Scene, before: dict[TopicPartition, int]) -> None:
    async with admin(scene.kafka) as client:
        await client.delete_records({partition: RecordsToDelete(offset) for partition, offset in before.items()})


async def _make_anew(scene: Scene) -> None:
    spec = next(spec for spec in scene.topics.specs() if spec.name == scene.topics.case_events)
    await delete_topics(scene.kafka, [spec.name])
    await asyncio.sleep(1)  # a client that is reading sees that it is gone

    async def made() -> bool:
        # Until the deletion is through, the old topic still stands.
        return bool(await create_topics(scene.kafka, [spec]))

    await once(made)


async def _stands_still(scene: Scene, worker: RunningService) -> str:
    """Waits until the worker has halted; gives its sentence, which must say what to do."""
    before = await scene.positions()
    said = await until_halted(worker)
    assert "rebuild" in said
    assert await scene.positions() == before
    assert "consumer_halted" in worker.log
    return said


async def test_a_log_cut_beyond_what_was_counted_stops_the_worker(scene: Scene) -> None:
    distinct, arriving = load.season(81, cases=600)
    half = len(arriving) // 2
    worker = await scene.worker()
    await scene.send(arriving[:half])
    await scene.until_taken(half)
    assert worker.terminate()
    figures = [event for event in distinct if event in arriving[:half]]
    await scene.send(arriving[half:])
    await _cut(scene, {partition: end - 3 for partition, end in (await scene.ends()).items()})
    worker.launch()
    assert "removed before they were counted" in await _stands_still(scene, worker)
    await scene.exact(figures)


async def test_a_log_that_was_emptied_before_any_of_it_was_counted_stops_the_worker(scene: Scene) -> None:
    _, arriving = load.season(82, cases=300)
    worker = await scene.worker()
    assert worker.terminate()
    await scene.send(arriving)
    await _cut(scene, await scene.ends())
    worker.launch()
    assert "removed before they were counted" in await _stands_still(scene, worker)
    await scene.exact([])


async def test_a_topic_made_anew_while_no_worker_ran_stops_the_next_one_however_long_it_is(scene: Scene) -> None:
    distinct, arriving = load.season(83, cases=300)
    _, other = load.season(84, cases=900)
    worker = await scene.worker()
    await scene.send(arriving)
    await scene.until_taken(len(arriving))
    assert worker.terminate()
    await _make_anew(scene)
    await scene.send(other)
    ends = {partition.partition: end for partition, end in (await scene.ends()).items()}
    assert all(ends[partition] > position for partition, position in (await scene.positions()).items()), "shorter: seen anyway"
    worker.launch()
    await _stands_still(scene, worker)
    await scene.exact(distinct)


async def test_a_topic_made_anew_under_a_worker_that_goes_on_stops_it(scene: Scene) -> None:
    distinct, arriving = load.season(85, cases=300)
    _, other = load.season(86, cases=900)
    worker = await scene.worker()
    await scene.send(arriving)
    await scene.until_taken(len(arriving))
    await _make_anew(scene)
    await scene.send(other)
    await _stands_still(scene, worker)
    await scene.exact(distinct)
