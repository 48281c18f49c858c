"""Indexing the log: a partition's records with their offset in one transaction, and up to when the index is whole."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

import structlog

from services.intake.domain import Sender
from services.intake.domain.index import Unusable, key_of, read_parked
from services.intake.store import index, parked
from services.intake.store.index import Indexed
from shared import offsets
from shared.clock import Clock
from shared.kafka import KafkaUnavailable
from shared.postgres import Pool, Unavailable, committing

log = structlog.get_logger()

LOOK_SECONDS: Final = 0.5
"""How often it is asked whether the index is whole up to the last mark."""

TROUBLE: Final[tuple[type[Exception], ...]] = (*Unavailable, KafkaUnavailable)
"""What passes: a database or a broker that is away."""

Ends = Callable[[], Awaitable[Mapping[tuple[str, int], int]]]
"""The offset that each partition's next record will get, by topic and partition, of all that is indexed."""


class Logged(Protocol):
    """A record as Kafka's client gives it; ``timestamp`` is in milliseconds since the epoch."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


async def index_events(pool: Pool, topic: str, partition: int, expected: int, records: Sequence[Logged]) -> int:
    """Indexes records of ``case-events``; returns the next offset wanted. What has no source and id is passed over.

    Raises:
        offsets.Fenced: another worker has indexed this partition on; nothing was written.
    """
    found = [Indexed(key, record.offset, record.timestamp) for record in records if (key := key_of(record.value)) is not None]
    following = records[-1].offset + 1
    async with pool.acquire() as db, committing(db):
        await offsets.advance(db, topic, partition, expected, following)
        await index.add_events(db, partition, found)
    return following


def parked_indexer(senders: Callable[[], Collection[Sender]]) -> Callable[[Pool, str, int, int, Sequence[Logged]], Awaitable[int]]:
    """Gives what indexes records of ``parked``; ``senders`` tells the source of a sender whose event does not name one."""

    async def index_parked(pool: Pool, topic: str, partition: int, expected: int, records: Sequence[Logged]) -> int:
        """As :func:`index_events`. What cannot be read is named in the log and passed over."""
        sources = {sender.id: sender.source for sender in senders()}
        found: list[Unusable] = []
        for record in records:
            read = read_parked(record.value, sources)
            if read is None:
                log.error("parked_unreadable", topic=topic, partition=partition, offset=record.offset)
            else:
                found.append(read)
        following = records[-1].offset + 1
        async with pool.acquire() as db, committing(db):
            await offsets.advance(db, topic, partition, expected, following)
            await parked.add(db, found)
        return following

    return index_parked


async def note_for_ever(pool: Pool, ends: Ends, clock: Clock) -> None:
    """Notes up to when the index is whole, again and again.

    A mark is a moment and where each partition ended after it. All that was answered before the moment lies before those
    ends; so when every partition is indexed up to its end, the index is whole up to the moment.
    """
    mark: tuple[datetime, Mapping[tuple[str, int], int]] | None = None
    wrong = False
    while True:
        try:
            if mark is None:
                at = clock()
                mark = at, await ends()
            async with pool.acquire() as db:
                reached = await index.positions(db)
                if all(reached.get(place, 0) >= end for place, end in mark[1].items()):
                    await index.note_indexed(db, mark[0])
                    mark = None
            wrong = False
        except TROUBLE as error:
            if not wrong:
                log.warning("index_not_noted", error=type(error).__name__)
            wrong = True
        await asyncio.sleep(LOOK_SECONDS)
