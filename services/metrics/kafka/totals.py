"""Publishing the counters' totals to ``county-metrics``, from the state."""

import asyncio
import hashlib
import time
from datetime import datetime
from typing import Final

import orjson
import structlog

from services.metrics.store import totals as store
from services.metrics.store.totals import Counter, Total
from shared import counties, items, meters
from shared.clock import Clock, now, rfc3339
from shared.events import county_metric
from shared.kafka import Bootstrap, KafkaUnavailable, Message, Publisher, Topics
from shared.kafka.follower import Away, Follower
from shared.postgres import Connection, Pool
from shared.telling import StatePublisher

log = structlog.get_logger()

PUBLISH_AT_ONCE: Final = 1000
REST_SECONDS: Final = 0.2
"""Each counter is told of at most five times a second."""
AUDIT_SECONDS: Final = 30.0
"""How often what stands on the topic is compared with what was told."""

_ROSTER: Final = [county.code for county in counties.ROSTER]
_LIVE: Final = [item.code for item in items.CATALOGUE]


class TotalsPublisher(StatePublisher):
    """Publishes each counter whose version is above its published version.

    It reads the topic back, first of all when it takes over: a database that was put back, a topic made anew, a late record of
    a publisher that had lost its lock. Whatever stands there otherwise than it was told is told again, by a greater version.
    """

    def __init__(
        self, pool: Pool, publisher: Publisher, topics: Topics, kafka: Bootstrap, changed: asyncio.Event, clock: Clock = now
    ) -> None:
        super().__init__(pool, store.LOCK, self._publish_totals, changed, what="totals", rest_seconds=REST_SECONDS)
        self._publisher = publisher
        self._topic = topics.county_metrics
        self._clock = clock
        self._follower = Follower(kafka, topics.county_metrics, client_id="metrics-worker-audit")
        self._standing: dict[bytes, bytes] = {}
        self._life = 0
        self._audited = -AUDIT_SECONDS
        self._session: Connection | None = None
        self._caught_up = False

    async def close(self) -> None:
        """Lets the connection go that reads the topic back."""
        await self._follower.close()

    async def _publish_totals(self, db: Connection) -> int:
        if db is not self._session:
            # Another release may have told meanwhile, which notes otherwise.
            await store.look_at_all(db)
        waiting = await store.note_changes(db, _ROSTER, _LIVE, self._clock())
        if db is not self._session or time.monotonic() - self._audited >= AUDIT_SECONDS:
            self._caught_up = False
            await self._audit(db)
            self._session, self._audited = db, time.monotonic()
        if not self._caught_up or len(waiting) > PUBLISH_AT_ONCE:
            waiting = await store.unpublished(db, PUBLISH_AT_ONCE)
        # Until they are marked it is not known what waits beside what was noted just now.
        self._caught_up = False
        at = self._clock()
        await self._publisher.publish([Message(self._topic, _key(one.counter), encode(one, at)) for one in waiting])
        await store.mark_published(db, waiting)
        self._caught_up = len(waiting) < PUBLISH_AT_ONCE
        meters.TOTALS.inc(len(waiting))
        return len(waiting)

    async def _audit(self, db: Connection) -> None:
        """Has told again what stands on the topic otherwise than it was told.

        Raises:
            KafkaUnavailable: the topic cannot be read.
        """
        told = await store.published(db)
        try:
            await self._read_back()
        except Away as error:
            raise KafkaUnavailable(f"{self._topic} cannot be read back: {type(error).__name__}") from error
        astray = {}
        for counter, as_told in told.items():
            standing = _read(self._standing.get(_key(counter).encode()))
            if standing != as_told:
                astray[counter] = standing[1] if standing else 0
        # Not yet published here, though the topic may know greater versions: a database that was put back.
        for key, value in self._standing.items():
            counter = Counter(*key.decode().split("|"))
            if counter not in told and (standing := _read(value)) is not None:
                astray[counter] = standing[1]
        if astray:
            meters.TOTALS_ASTRAY.inc(len(astray))
            log.info("totals_told_again", counters=len(astray), first="|".join(next(iter(astray))))
            await store.tell_again(db, astray, self._clock())

    async def _read_back(self) -> None:
        self._follower.check_now()
        while True:
            records = await self._follower.read()
            if self._follower.life.number != self._life:
                self._life = self._follower.life.number
                self._standing.clear()
            for record in records:
                if record.key is not None:
                    self._standing[record.key] = record.value or b""
            if not await self._follower.behind():
                return


def encode(total: Total, at: datetime) -> bytes:
    """The total's CloudEvent. Sent again, it has the same id."""
    counter, key = total.counter, _key(total.counter)
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{hashlib.sha256(key.encode()).hexdigest()[:32]}-{total.version}",
            "source": county_metric.SOURCE,
            "type": county_metric.TYPE,
            "subject": key,
            "time": rfc3339(at),
            "datacontenttype": "application/json",
            "data": {
                "county": counter.county, "item": counter.item, "measure": counter.measure,
                "total": total.total, "version": total.version, "changed_at": rfc3339(total.changed_at),
            },
        }
    )  # fmt: skip


def _key(counter: Counter) -> str:
    return county_metric.key(*counter)


def _read(value: bytes | None) -> tuple[int, int] | None:
    """Total and version of a record; ``None``: there is none, or none of ours."""
    try:
        data = orjson.loads(value or b"")["data"]
        return int(data["total"]), int(data["version"])
    except (ValueError, KeyError, TypeError):
        return None
