"""Workers that join and leave while events arrive.

What may be observed: partitions move between two, three and four workers, some leave in order and some are killed; each case
counts once.
"""

import asyncio
import random
import time

import pytest

from tests import load
from tests.guarantees.scene import Scene

SECONDS = 60.0


@pytest.mark.parametrize("seed", [51])
async def test_two_to_four_workers_that_join_and_leave_count_each_case_once(seed: int, scene: Scene) -> None:
    draw = random.Random(seed)
    distinct, arriving = load.season(seed, cases=3000)
    pace = SECONDS / (len(arriving) / 100)
    working = [await scene.worker(BATCH_RECORDS="100") for _ in range(2)]
    begun = time.monotonic()
    sending = asyncio.create_task(scene.send(arriving, pace=pace))
    while time.monotonic() - begun < SECONDS:
        await asyncio.sleep(draw.uniform(0.5, 3))
        if len(working) == 2 or (len(working) < 4 and draw.random() < 0.5):
            working.append(await scene.worker(BATCH_RECORDS="100"))
        elif draw.random() < 0.7:
            leaver = working.pop(draw.randrange(len(working)))
            assert await asyncio.to_thread(leaver.terminate), "a worker that is asked to stop stops by itself"
        else:
            working.pop(draw.randrange(len(working))).kill()
    await sending
    await scene.until_taken(len(arriving))
    await scene.exact(distinct)
