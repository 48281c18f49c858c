"""Streaming: one feed in memory, one clock for all readers, and what each of them has to know."""

import asyncio
from typing import Final, NamedTuple

import orjson
import structlog

from services.metrics.domain.feed import Feed, Unreadable
from shared import meters

log = structlog.get_logger()

PACE_SECONDS: Final = 0.22
"""Between two rounds: no counter is sent more than five times a second, with a little room for a clock that is late."""
HEARTBEAT_SECONDS: Final = 15.0
MOST_CLIENTS: Final = 2_000
"""At once, of one process: each takes a socket and its buffers."""
MOST_PIECES: Final = 64


class Life(NamedTuple):
    """Which life of the topic the feed is of. ``begins`` is the first offset that the log still holds."""

    topic_id: str | None
    begins: int
    number: int


class Hub:
    """What the topic's reader fills and the api's clients follow."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.feed = Feed()
        self.life = Life(None, 0, 0)
        self.until = 0
        """Up to where the present round goes."""
        self.away: str | None = "county-metrics has not been read yet"
        """Why nobody can begin to follow now; ``None`` when all is well."""
        self.stopping = False
        self.clients = 0
        self._turn = asyncio.Event()
        self._news = asyncio.Event()
        self._pieces: dict[tuple[int, int, str | None, str | None], tuple[bytes, int]] = {}

    def begin(self, life: Life) -> None:
        """Another life of the topic: what was known is of no use."""
        self.life = life
        self.feed = Feed()
        self.until = 0
        self._pieces.clear()
        self._news.set()

    def put(self, offset: int, key: bytes, value: bytes | None) -> None:
        """Takes a record."""
        try:
            self.feed.put(offset, key, value)
        except Unreadable as error:
            meters.STREAM_UNREADABLE.inc()
            log.warning("total_unreadable", error=str(error))
        self._news.set()

    def ready(self) -> None:
        """All that the log had is read: who comes from now on can follow."""
        self.away = None
        self.until = self.feed.next_offset
        self._news.set()

    def stop(self) -> None:
        """The process is to end: clients are told so, and come to another one."""
        self.stopping = True
        self._wake()

    async def go_round(self) -> None:
        """Lets everybody see what is new, a round after the other, until cancelled."""
        while True:
            try:
                await asyncio.wait_for(self._news.wait(), HEARTBEAT_SECONDS)
            except TimeoutError:
                self._wake()
                continue
            self._news.clear()
            if self.away is None:
                self.until = self.feed.next_offset
            self._pieces.clear()
            self._wake()
            await asyncio.sleep(PACE_SECONDS)

    def _wake(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    @property
    def turn(self) -> asyncio.Event:
        """Is set when the next round begins. Take it before you look at anything else."""
        return self._turn

    def piece(self, position: int, county: str | None, item: str | None) -> tuple[bytes, int]:
        """As :meth:`Feed.piece`, up to where the present round goes: made once for all who ask from the same position."""
        key = position, self.until, county, item
        made = self._pieces.get(key)
        if made is None:
            made = self.feed.piece(position, self.until, county, item)
            if len(self._pieces) < MOST_PIECES:
                self._pieces[key] = made
        return made

    def unknown(self, position: int, topic_id: str | None) -> str | None:
        """Why nothing can be said about what came since ``position``; ``None`` when it can."""
        if topic_id is not None and self.life.topic_id is not None and topic_id != self.life.topic_id:
            return "the position is of another life of the topic: it was made anew since"
        if position > self.feed.next_offset:
            return "the position is beyond the log's end: the topic was made anew or cut since"
        if position < self.life.begins:
            return f"the position is older than the log, which begins at {self.life.begins}"
        return None

    def snapshot(self, county: str | None, item: str | None) -> bytes:
        """The whole picture and the position from which to follow, as JSON."""
        position = {"topic": self.topic, "topic_id": self.life.topic_id, "partition": 0, "next_offset": self.feed.next_offset}
        rows = b",".join(self.feed.picture(county, item))
        return b'{"position":%b,"rows":[%b]}' % (orjson.dumps(position), rows)
