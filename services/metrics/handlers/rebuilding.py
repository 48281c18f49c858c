"""Rebuilding from the log: everything is counted anew in fresh tables, beside the live ones, which then give way.

``docs/decisions/0009-rebuild-beside-the-live-tables.md`` says why it is safe while workers count and readers read.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from services.metrics.handlers import counting
from services.metrics.handlers.counting import Park, Raw, RawRecord, Unusable
from services.metrics.store import counters, offsets
from services.metrics.store import rebuild as store
from shared.kafka import LogReader, Record
from shared.kafka.log import Place
from shared.postgres import Connection, Pool
from shared.unusable import Limits, Watch

log = structlog.get_logger()

ATTEMPTS: Final = 60
"""How often the swap is tried; between two attempts the fresh tables catch up."""
PAUSE_SECONDS: Final = 0.5
WRITERS_WAIT_SECONDS: Final = 3.0
"""How long workers may wait at the fence while the last records are counted."""
IDLE_READS: Final = 3
"""So many readings in a row without a record mean that there is none to be had now."""

Take = Callable[[Pool, Park, str, int, int, Sequence[Raw]], Awaitable[int]]
"""A use case that takes a partition's records: pool, park, topic, partition, expected offset, records."""

ParkAt = Callable[[str, int, Sequence[Unusable]], Awaitable[None]]
"""Makes records of a topic's partition durable on ``parked`` before it returns."""


class CannotRebuild(Exception):
    """The live tables stand as they were; the message says what to do."""


class Progress(NamedTuple):
    """Offsets that are counted, of those that the log has now."""

    counted: int
    of: int


@dataclass(frozen=True, slots=True)
class Edges:
    """What a rebuild works with. ``admin`` is a session of the database's owner, ``fresh`` works in the fresh schema."""

    admin: Connection
    fresh: Pool
    log: LogReader
    takes: Mapping[str, Take]
    park: ParkAt


class Rebuild:
    """One run. ``accept_shorter_log``: what the live tables counted of a log that is gone may be lost."""

    def __init__(
        self, edges: Edges, *, most: int, limits: Limits, accept_shorter_log: bool, told: Callable[[Progress], None]
    ) -> None:
        self._edges = edges
        self._most = most
        self._watch = Watch(limits)
        self._accept_shorter_log = accept_shorter_log
        self._told = told
        self._counted: dict[Place, int] = {}
        self._live: dict[Place, int] = {}
        self._unusable: dict[Place, list[Unusable]] = {}

    async def run(self) -> int:
        """Counts the log into the fresh tables and swaps; returns how many offsets were counted.

        Raises:
            CannotRebuild: the log does not hold what is needed, or the swap was not possible.
        """
        self._live = await self._goals()
        ids = await self._edges.log.ids()
        begins = await self._edges.log.begins()
        async with self._edges.fresh.acquire() as db:
            for (topic, number), begin in begins.items():
                if begin > 0:
                    raise CannotRebuild(
                        f"the log of {topic}/{number} begins at {begin}: events before it were removed,"
                        " and a rebuild would lose them. Restore the topic from a copy"
                    )
                # Stores the topic's id with the position, as the worker does.
                await offsets.position(db, topic, number, ids[topic])
                self._counted[topic, number] = 0
        await self._catch_up(await self._edges.log.ends())
        await store.analyse(self._edges.admin)
        why = ""
        for _ in range(ATTEMPTS):
            await self._catch_up(await self._edges.log.ends())
            try:
                await self._swap()
                return sum(self._counted.values())
            except store.Busy as error:
                why = str(error)
                log.info("swap_put_off", reason=why)
            await asyncio.sleep(PAUSE_SECONDS)
        raise CannotRebuild(f"the tables could not be swapped: {why}. The live ones stand as they were; try again")

    async def _swap(self) -> None:
        admin = self._edges.admin
        async with store.fenced(admin):
            self._live = await self._goals()
            deadline = time.monotonic() + WRITERS_WAIT_SECONDS
            if not await self._catch_up(self._live, deadline):
                raise store.Busy("the workers were ahead")
            # Readers see what is folded: no figure may fall when they come to the fresh tables.
            async with self._edges.fresh.acquire() as fresh:
                await counters.fold_all(fresh)
            await self._park()
            await store.swap(admin)
            await store.tell_difference(admin)

    async def _goals(self) -> dict[Place, int]:
        """Up to where the live tables have counted the log that is there.

        Raises:
            CannotRebuild: they have counted another log, and that may not be lost.
        """
        # The positions first: the workers count on, and must not seem to be beyond an end that was read before.
        positions = await store.positions(self._edges.admin)
        ids = await self._edges.log.ids()
        ends = await self._edges.log.ends()
        goals: dict[Place, int] = {}
        for place, position in positions.items():
            topic = place[0]
            end = ends.get(place, 0)
            other = topic not in ids or (None not in (position.topic_id, ids[topic]) and position.topic_id != ids[topic])
            if (other or position.next_offset > end) and position.next_offset > 0 and not self._accept_shorter_log:
                raise CannotRebuild(
                    f"the live tables have counted {topic}/{place[1]} up to {position.next_offset}, and the log there"
                    f" {'is another topic' if other else f'ends at {end}'}: what only they know would be lost. See that"
                    " ONETHING_KAFKA and ONETHING_TOPIC_PREFIX are right, or give --accept-shorter-log"
                )
            if place in ends:
                goals[place] = 0 if other else min(position.next_offset, end)
        return goals

    async def _catch_up(self, goals: Mapping[Place, int], deadline: float | None = None) -> bool:
        """Counts until each partition is read up to its goal; gives up when nothing comes, or after ``deadline``."""
        idle = 0
        while idle < IDLE_READS and (deadline is None or time.monotonic() < deadline):
            read = await self._edges.log.positions()
            self._told(Progress(sum(read.values()), max(sum(read.values()), sum(goals.values()))))
            if all(read[place] >= goal for place, goal in goals.items()):
                return True
            batch = await self._edges.log.read(self._most)
            idle = 0 if batch else idle + 1
            await self._count_all(batch)
            await counting.fold_counters(self._edges.fresh)
        return False

    async def _count_all(self, batch: Mapping[Place, Sequence[Record]]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for place, records in batch.items():
                    group.create_task(self._count(place, [RawRecord(record.offset, record.value) for record in records]))
        except* Exception as errors:
            raise _first(errors) from None

    async def _count(self, place: Place, records: Sequence[RawRecord]) -> None:
        taken = self._live.get(place, 0)

        async def remember(unusable: Sequence[Unusable]) -> None:
            # What the live tables have taken was judged and parked then; the rest is parked when we take their place.
            fresh = [one for one in unusable if one.offset >= taken]
            rest = [record for record in records if record.offset >= taken]
            if fresh:
                self._watch.check(place, rest[0].offset, rest, {one.offset for one in fresh})
            self._unusable.setdefault(place, []).extend(fresh)

        take = self._edges.takes[place[0]]
        self._counted[place] = await take(self._edges.fresh, remember, *place, self._counted[place], records)

    async def _park(self) -> None:
        for place, unusable in self._unusable.items():
            if waiting := [one for one in unusable if one.offset >= self._live.get(place, 0)]:
                await self._edges.park(*place, waiting)


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
