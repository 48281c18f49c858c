"""Publishing from the state: whatever happens to the publisher, it catches up from what the database says (DESIGN §3).

It coalesces under load, survives any crash, and needs no outbox table.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from shared import tracing
from shared.kafka import KafkaUnavailable
from shared.postgres import Connection, Pool, Unavailable

log = structlog.get_logger()

POLL_SECONDS: Final = 1.0
"""How often the publisher looks by itself: for what another process wrote or left behind."""

TROUBLE: Final[tuple[type[Exception], ...]] = (*Unavailable, KafkaUnavailable)
"""What passes: a database or a broker that is away."""

PublishSome = Callable[[Connection], Awaitable[int]]
"""Publishes some of what waits; returns how much it did, 0 when nothing waits."""


class StatePublisher:
    """Publishes what waits, for ever: one at a time among all processes, who holds the advisory lock named ``lock``.

    All that it reads and notes goes through the session that holds the lock, so that one that lost it notices. ``rest_seconds``
    is the least time between two looks, in which changes of one thing come together.
    """

    def __init__(
        self, pool: Pool, lock: str, publish_some: PublishSome, changed: asyncio.Event, *, what: str, rest_seconds: float = 0.0
    ) -> None:
        self._pool = pool
        self._lock = lock
        self._publish_some = publish_some
        self._changed = changed
        self._what = what
        self._rest = rest_seconds
        self.wrong: str | None = "not yet running"

    async def run(self) -> None:
        """Publishes until cancelled. What goes wrong is logged, said in :attr:`wrong`, and tried again."""
        while True:
            try:
                async with self._pool.acquire() as db:
                    if await db.fetchval("select pg_try_advisory_lock(hashtext($1))", self._lock):
                        await self._publish_for_ever(db)
                self.wrong = None  # another process publishes
            except Exception as error:
                self.wrong = f"{self._what} wait: {type(error).__name__}"
                passes = isinstance(error, TROUBLE)
                log.warning(f"{self._what}_wait", error=type(error).__name__, exc_info=not passes)
            await asyncio.sleep(POLL_SECONDS)

    async def _publish_traced(self, db: Connection) -> int:
        with tracing.telling(self._what) as told:
            count = await self._publish_some(db)
            if told is not None:
                told.count = count
            return count

    async def _publish_for_ever(self, db: Connection) -> None:
        while True:
            self._changed.clear()
            while await self._publish_traced(db):
                pass
            self.wrong = None
            await asyncio.sleep(self._rest)
            try:
                await asyncio.wait_for(self._changed.wait(), POLL_SECONDS)
            except TimeoutError:
                continue
