"""What tests of the counting do again and again: send events, wait until they are counted, read every cell."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import orjson

from services.metrics.domain.cases import MEASURES
from shared.kafka import Bootstrap, Message, Publisher
from tests.oracle import Cell, Event


async def send(kafka: Bootstrap, topic: str, events: Sequence[Event]) -> None:
    """Publishes to the topic itself, as intake does."""
    async with Publisher(kafka, client_id="test", timeout_seconds=30) as publisher:
        for start in range(0, len(events), 5000):
            await publisher.publish([Message(topic, e["subject"], orjson.dumps(e)) for e in events[start : start + 5000]])


async def counted(admin_dsn: str) -> Counter[Cell]:
    """Every counter that is not zero, as the api reads it."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        rows = await connection.fetch("select * from metrics.counted")
    finally:
        await connection.close()
    found: Counter[Cell] = Counter()
    for row in rows:
        for measure in MEASURES:
            found[row["item"], row["county"], row["day"], measure] += row[measure]
    return Counter({cell: n for cell, n in found.items() if n})


async def taken(admin_dsn: str, topic: str) -> int:
    """How many records of the topic the database says are counted."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        return int(await connection.fetchval("select coalesce(sum(next_offset), 0) from metrics.offsets where topic = $1", topic))
    finally:
        await connection.close()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> float:
    """Waits until ``condition`` holds; gives how long it took. Fails the test when it is not so in time."""
    begun = time.monotonic()
    while not await condition():
        assert time.monotonic() - begun < seconds, f"not so after {seconds:.0f} s"
        await asyncio.sleep(0.05)
    return time.monotonic() - begun
