"""Publishing snapshots to ``progress``, from the state."""

import asyncio
from typing import Final

import structlog

from services.utilities.domain.limits import TimeLimits
from services.utilities.domain.snapshots import encode_snapshot
from services.utilities.handlers import due, joint, rebuilding
from services.utilities.store import subjects as store
from shared import meters
from shared.clock import Clock, now
from shared.kafka import Message, MessagesTooLarge, Publisher, Topics
from shared.postgres import Connection, Pool
from shared.telling import StatePublisher

log = structlog.get_logger()

PUBLISH_AT_ONCE: Final = 1000

UNTOLD: Final = "their states are larger than Kafka takes: have the company take its reports back, then publish-again"


class SnapshotPublisher(StatePublisher):
    """Derives what waits to be derived, and publishes each row whose version is above its published version."""

    def __init__(
        self, pool: Pool, publisher: Publisher, topics: Topics, limits: TimeLimits, changed: asyncio.Event, clock: Clock = now
    ) -> None:
        super().__init__(pool, store.LOCK, self._publish_snapshots, changed, what="snapshots")
        self._limits = limits
        self._publisher = publisher
        self._topic = topics.progress
        self._clock = clock

    async def _publish_snapshots(self, db: Connection) -> int:
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
            messages = [Message(self._topic, s.key, encode_snapshot(s, at)) for s in snapshots]
            try:
                await self._publisher.publish(messages)
            except MessagesTooLarge as error:
                # They would keep all others from being told, for ever.
                untold = [message.key for message in messages if message.value in error.values]
                log.error("snapshots_not_told", keys=untold[:20], more=max(0, len(untold) - 20), what_to_do=UNTOLD)
            await store.mark_published(db, kind, snapshots)
            meters.SNAPSHOTS.labels(kind).inc(len(snapshots))
            count += len(snapshots)
        return count
