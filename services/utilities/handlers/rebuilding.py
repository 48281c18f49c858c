"""Rebuilding from the log: the state is wiped, the workers read the log again, and only then is it told again.

The workers do the reading, as many as there are, by the way that they always take. What is told stands meanwhile, so that no
figure falls; versions rise by the clock, so that every reader takes the new over the old.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from services.utilities.store import due
from services.utilities.store import rebuild as store
from shared import audit
from shared.kafka import LogReader
from shared.kafka.log import Place
from shared.postgres import Connection, Pool

FLAG: Final = "rebuilding"
POLL_SECONDS: Final = 0.2


class CannotRebuild(Exception):
    """Nothing was wiped; the message says what to do."""


class Progress(NamedTuple):
    """Offsets that were read again, of those that the log had when the rebuild began."""

    read: int
    of: int


class Rebuilt(NamedTuple):
    """What was done: offsets read, and subjects that the log does not mention."""

    offsets: int
    gone: int


async def is_under_way(db: Connection) -> bool:
    """Whether the log is being read again: what stands in the tables is incomplete, and not to be told."""
    return await due.read_basis(db, FLAG) is not None


async def rebuild(
    pool: Pool,
    log: LogReader,
    now: Callable[[], datetime],
    told: Callable[[Progress], None],
    *,
    accept_shorter_log: bool,
    who: str = audit.COMMAND,
) -> Rebuilt:
    """Wipes, waits for the workers to read the log up to where it ends now, and has the state told. One that was stopped
    midway is ended by the next.

    Raises:
        CannotRebuild: the log does not hold what the state knows.
    """
    begins, ids = await log.begins(), await log.ids()
    async with pool.acquire() as db:
        async with db.transaction():
            await store.fence(db)
            ends = await log.ends()
            _refuse_other_log(await store.positions(db), begins, ends, {} if accept_shorter_log else ids)
            await store.wipe(db)
            await due.put_basis(db, FLAG, now().isoformat())
        of = sum(ends.values())
        while True:
            positions = await store.positions(db)
            read = {place: min(end, positions[place].next_offset if place in positions else 0) for place, end in ends.items()}
            told(Progress(sum(read.values()), of))
            if read == ends:
                break
            await asyncio.sleep(POLL_SECONDS)
        async with db.transaction():
            await store.fence(db)
            gone = await store.delete_unmentioned(db, int(now().timestamp() * 1000))
            await due.drop_basis(db, [FLAG])
            done = Rebuilt(of, gone)
            detail = done._asdict()
            await audit.write(db, at=now(), role=audit.COMMAND, who=who, action="log.rebuild", subject="utilities", detail=detail)
    return done


def _refuse_other_log(
    positions: Mapping[Place, store.Position], begins: Mapping[Place, int], ends: Mapping[Place, int], ids: Mapping[str, object]
) -> None:
    """``ids`` of the topics; empty where what only the state knows may be lost."""
    for (topic, number), begin in begins.items():
        if begin > 0:
            raise CannotRebuild(
                f"the log of {topic}/{number} begins at {begin}: events before it were removed, and a rebuild would lose them."
                " Restore the topic from a copy"
            )
    for (topic, number), position in positions.items():
        if not ids or position.next_offset == 0:
            continue
        end = ends.get((topic, number), 0)
        other = topic not in ids or (None not in (position.topic_id, ids[topic]) and position.topic_id != ids[topic])
        if other or position.next_offset > end:
            raise CannotRebuild(
                f"{topic}/{number} was taken up to {position.next_offset}, and the log there"
                f" {'is another topic' if other else f'ends at {end}'}: what only the database knows would be lost. See that"
                " ONETHING_KAFKA and ONETHING_TOPIC_PREFIX are right, or give --accept-shorter-log"
            )
