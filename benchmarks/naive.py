"""What a good engineer would first write on FastStream, and the obvious improvement on it. Kept honest: nothing slow put in.

Both count once each event that comes, by a table of the ids seen, and no more than that: no order, no correction, no deletion,
no move, no explanation. That is less than this project's worker does, so the comparison favours them.

- ``naive``: one message a call, a pydantic model, one transaction a message: the id into ``seen``, the counter up by one.
  Acknowledged as FastStream does by default (before the handler, committed in the background): its quickest policy, which
  loses events when the process is killed.
- ``batch``: ``batch=True``, ``list[Model]``, one transaction a batch: the ids by one set-based insert, then the counters that
  changed by ``executemany``.

``python -m benchmarks.naive`` runs one of them, told by its environment, and prints what it took.
"""

import asyncio
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any, Final, cast

import asyncpg
import orjson
import uvloop
from faststream.kafka import KafkaBroker
from faststream.message import StreamMessage
from pydantic import BaseModel

from benchmarks import rival
from benchmarks.rival import Clock

BATCH: Final = 2_000
SHANGHAI: Final = timezone(timedelta(hours=8))

TABLES: Final = """
drop table if exists seen, counters;
create table seen (source text, id text, primary key (source, id));
create table counters (item text, county text, step text, day date, n bigint not null, primary key (item, county, step, day));
"""
SEE: Final = "insert into seen (source, id) values ($1, $2) on conflict do nothing returning true"
SEE_ALL: Final = "insert into seen (source, id) select * from unnest($1::text[], $2::text[]) on conflict do nothing returning id"
ADD: Final = """
insert into counters (item, county, step, day, n) values ($1, $2, $3, $4, $5)
on conflict (item, county, step, day) do update set n = counters.n + excluded.n
"""


class Step(BaseModel):
    item: str
    county: str
    step: str
    occurred_at: datetime


class CaseEvent(BaseModel):
    id: str
    source: str
    data: Step


def cell(event: CaseEvent) -> tuple[Any, ...]:
    """The counter that the event moves."""
    return event.data.item, event.data.county, event.data.step, event.data.occurred_at.astimezone(SHANGHAI).date()


async def decode(message: StreamMessage[Any]) -> Any:
    """FastStream decodes ``application/json`` by itself, and CloudEvents' media type not."""
    return orjson.loads(message.body)


async def decode_all(message: StreamMessage[Any]) -> Any:
    return [orjson.loads(body) for body in cast("list[bytes]", message.body)]


async def count_one(pool: asyncpg.Pool, event: CaseEvent) -> None:
    async with pool.acquire() as db, db.transaction():
        if await db.fetchval(SEE, event.source, event.id):
            await db.execute(ADD, *cell(event), 1)


async def count_batch(pool: asyncpg.Pool, events: list[CaseEvent]) -> None:
    async with pool.acquire() as db, db.transaction():
        new = await db.fetch(SEE_ALL, [event.source for event in events], [event.id for event in events])
        ids = {row["id"] for row in new}
        moved = Counter(cell(event) for event in events if event.id in ids)
        await db.executemany(ADD, sorted((*key, n) for key, n in moved.items()))


class Timed:
    """From the first call to the end of the one that completes ``goal`` events; what comes later is let go."""

    def __init__(self, goal: int, clock: Clock) -> None:
        self.goal = goal
        self.clock = clock
        self.done = 0
        self.begun = False
        self.finished = asyncio.Event()

    def begin(self) -> bool:
        """Whether there is still something to do."""
        if not self.begun:
            self.begun = True
            self.clock.start()
        return not self.finished.is_set()

    def end(self, events: int) -> None:
        self.done += events
        if self.done >= self.goal:
            self.clock.stop()
            self.finished.set()


async def main() -> None:
    given = rival.given()
    clock = Clock(given["servers"])
    timed = Timed(given["events"], clock)
    pool = await asyncpg.create_pool(given["dsn"], min_size=1, max_size=4)
    await pool.execute(TABLES)
    broker = KafkaBroker(given["kafka"], logger=None)

    if given["how"] == "naive":

        @broker.subscriber(given["topic"], group_id="naive-one", auto_offset_reset="earliest", decoder=decode)
        async def on_event(event: CaseEvent) -> None:
            if timed.begin():
                await count_one(pool, event)
                timed.end(1)
    else:

        @broker.subscriber(
            given["topic"], group_id="naive-batch", auto_offset_reset="earliest", batch=True, max_records=BATCH, decoder=decode_all
        )
        async def on_events(events: list[CaseEvent]) -> None:
            if timed.begin():
                await count_batch(pool, events)
                timed.end(len(events))

    await broker.start()
    await timed.finished.wait()
    await broker.stop()
    counted = await pool.fetchval("select sum(n) from counters")
    await pool.close()
    if counted != timed.done:
        raise RuntimeError(f"{counted} of {timed.done} events stand in the counters")
    clock.say(timed.done)


if __name__ == "__main__":
    uvloop.run(main())
