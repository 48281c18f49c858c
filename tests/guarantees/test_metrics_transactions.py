"""A topic that is written in transactions, some of which are given up.

What may be observed: events of a transaction that was given up, or is still open, are not counted; gaps and markers in the
log's offsets lose nothing.
"""

import random

import orjson
from aiokafka import AIOKafkaProducer

from tests import load
from tests.guarantees.scene import Scene
from tests.metrics_support import counted, until
from tests.oracle import Event, count


async def _in_transaction(producer: AIOKafkaProducer, topic: str, events: list[Event]) -> None:
    for event in events:
        await producer.send(topic, orjson.dumps(event), event["subject"].encode())
    await producer.flush()


async def test_only_what_was_committed_counts_whatever_was_given_up_between(scene: Scene) -> None:
    draw = random.Random(71)
    distinct, arriving = load.season(71, cases=800)
    given_up = load.season(72, cases=800)[1]
    topic = scene.topics.case_events
    # Pieces of both seasons, in turn: what is given up lies between, before and after what counts.
    cuts = sorted(draw.sample(range(len(arriving)), k=12))
    pieces = [arriving[start:end] for start, end in zip([0, *cuts], [*cuts, len(arriving)], strict=True)]
    worker = await scene.worker(BATCH_RECORDS="150")
    async with AIOKafkaProducer(bootstrap_servers=scene.kafka, transactional_id=scene.group) as producer:
        for number, piece in enumerate(pieces):
            if number % 3 == 2:
                await scene.send(piece)  # outside any transaction
            else:
                async with producer.transaction():
                    await _in_transaction(producer, topic, piece)
            await producer.begin_transaction()
            await _in_transaction(producer, topic, given_up[number * 40 : number * 40 + 40])
            await producer.abort_transaction()
            if number == len(pieces) // 2:
                worker.kill()
                worker = await scene.worker_of_its_own(BATCH_RECORDS="150")
        await producer.begin_transaction()
        await _in_transaction(producer, topic, given_up[-100:])
        expected = count(distinct)

        async def as_told() -> bool:
            return await counted(scene.database.admin_dsn) == expected

        await until(as_told)
        await scene.exact(distinct)  # while a transaction is open
        await producer.abort_transaction()
    await scene.send(arriving[:200])  # the end is reached past the last marker, and once more
    await until(as_told)
    await scene.exact(distinct)
