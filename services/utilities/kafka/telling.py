"""Publishing snapshots to ``progress``, from the state."""

import asyncio
from typing import Final

import structlog
from prometheus_client import Counter

from services.utilities.domain.limits import TimeLimits
from services.utilities.domain.snapshots import encode_snapshot
from services.utilities.handlers import due, joint, rebuilding
from services.utilities.store import subjects as store
from shared.clock import Clock, now
from shared.kafka import KafkaUnavailable, Message, Publisher, Topics
from shared.postgres import Connection, Pool, Unavailable

log = structlog.get_logger()

POLL_SECONDS: Final = 1.0
"""How often the publisher looks by itself: for the import's rows, and for what another worker left behind."""

PUBLISH_AT_ONCE: Final = 1000

TROUBLE: Final[tuple[type[Exception], ...]] = (*Unavailable, KafkaUnavailable)
"""What passes: a database or a broker that is away."""

PUBLISHED = Counter("onething_utilities_snapshots_total", "Snapshots published to progress.", ["kind"])


class SnapshotPublisher:
    """Derives what waits to be derived, and publishes each row whose version is above its published version, from the state:
    whatever happens, it catches up.

    One at a time among all workers: who holds the advisory lock. All it reads and notes goes through the session that
    holds the lock, so that one that lost it notices.
    """

    def __init__(
        self, pool: Pool, publisher: Publisher, topics: Topics, limits: TimeLimits, changed: asyncio.Event, clock: Clock = now
    ) -> None:
        self._pool = pool
        self._limits = limits
        self._publisher = publisher
        self._topic = topics.progress
        self._changed = changed
        self._clock = clock
        self.wrong: str | None = "not yet running"

    async def run(self) -> None:
        """Publishes until cancelled. What goes wrong is logged, said in :attr:`wrong`, and tried again."""
        while True:
            try:
                async with self._pool.acquire() as db:
                    if await store.lead(db):
                        await self._publish_for_ever(db)
                self.wrong = None  # another worker publishes
            except Exception as error:
                self.wrong = f"snapshots wait: {type(error).__name__}"
                passes = isinstance(error, TROUBLE)
                log.warning("snapshots_wait", error=type(error).__name__, exc_info=not passes)
            await asyncio.sleep(POLL_SECONDS)

    async def _publish_for_ever(self, db: Connection) -> None:
        while True:
            self._changed.clear()
            while await self._publish_some(db):
                pass
            self.wrong = None
            try:
                await asyncio.wait_for(self._changed.wait(), POLL_SECONDS)
            except TimeoutError:
                continue

    async def _publish_some(self, db: Connection) -> int:
        """Derives and publishes some of what waits; returns how much. Nothing while a rebuild reads the log again."""
        if await rebuilding.is_under_way(db):
            return 0
        count = await joint.derive_waiting(db, self._clock())
        count += await due.retell(db, self._limits, self._clock())
        for kind in store.TABLES:
            snapshots = await store.unpublished(db, kind, PUBLISH_AT_ONCE)
            if not snapshots:
                continue
            at = self._clock()
            await self._publisher.publish([Message(self._topic, s.key, encode_snapshot(s, at)) for s in snapshots])
            await store.mark_published(db, kind, snapshots)
            PUBLISHED.labels(kind).inc(len(snapshots))
            count += len(snapshots)
        return count
