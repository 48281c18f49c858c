"""Following the counters: the whole picture with its position, and what comes after it as server-sent events (CONTRACT §4)."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import orjson
import structlog
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from services.metrics.handlers.streaming import HEARTBEAT_SECONDS, MOST_CLIENTS, Hub
from services.metrics.http.access import PROBLEMS as COMMON
from services.metrics.http.access import Asking, CountyCode, ItemCode, known_item, own_county, reader, wrong
from shared import meters
from shared.problems import ProblemError, described
from shared.web import ABORT

log = structlog.get_logger()

SLOW_SECONDS: Final = 10.0
"""How long a client may leave what it is sent unread before it is cut."""
GRACE_SECONDS: Final = 20.0
"""How long one that was cut may take to read why."""
LONGEST_SECONDS: Final = 900.0
"""How long one connection lasts: who comes again is asked again who they are, so that a token that is gone follows no longer."""
COMES_AGAIN_MS: Final = 2_000
RETRY_SECONDS: Final = 5
_OFFSET: Final = re.compile(r"[0-9]{1,18}")

PROBLEMS = COMMON | described({503: "Kafka does not answer, or too many follow already: come again after `Retry-After` seconds."})
EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events `county-metric` (`data` as on the topic, `id` its offset there); `reset` (what follows is the whole"
        " picture, `data.reason` says why); `cut` (the connection ends, `data.reason` says why). Comments are heartbeats.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}

router = APIRouter(prefix="/v1", dependencies=[Depends(reader)], responses=PROBLEMS, tags=["following"])


async def _hub(request: Request) -> Hub:
    """The hub, when it can be followed now.

    Raises:
        ProblemError: 503.
    """
    hub: Hub = request.app.state.hub
    if hub.away is not None:
        raise ProblemError(503, "kafka-away", f"{hub.away}. Figures are still answered", retry_after=RETRY_SECONDS)
    return hub


Following = Annotated[Hub, Depends(_hub)]


@router.get("/snapshot", response_class=JSONResponse)
async def snapshot(hub: Following, asker: Asking, county: CountyCode = None, item: ItemCode = None) -> Response:
    """The newest total of every counter, zeros included, and the position on `county-metrics` from which to follow: from there
    on, on the topic itself or by `/v1/stream?from_offset=`, nothing is missed."""
    chosen = own_county(asker, county), known_item(item).code if item else None
    return Response(hub.snapshot(*chosen), media_type="application/json")


@router.get("/stream", response_class=Response, responses=EVENTS)
async def stream(
    hub: Following,
    asker: Asking,
    county: CountyCode = None,
    item: ItemCode = None,
    from_offset: Annotated[int | None, Query(ge=0, le=10**18, description="`position.next_offset` of a snapshot.")] = None,
    topic_id: Annotated[
        str | None, Query(max_length=64, description="`position.topic_id`: tells a topic that was made anew.")
    ] = None,
    last_event_id: Annotated[str | None, Header(description="The last `id` that came; goes before `from_offset`.")] = None,
) -> Response:
    """Every change of a counter from now on, or since a position, as server-sent events: at most five a second for each counter,
    the newest always."""
    chosen = own_county(asker, county), known_item(item).code if item else None
    position = from_offset
    if last_event_id:
        if not _OFFSET.fullmatch(last_event_id):
            raise wrong("last-event-id", "no offset: send the last id that came, as it was", where="header")
        position = int(last_event_id) + 1
    if hub.clients >= MOST_CLIENTS:
        raise ProblemError(503, "too-many-clients", f"{MOST_CLIENTS} follow already", retry_after=RETRY_SECONDS)
    return EventStream(hub, position, topic_id, *chosen)


class Slow(Exception):
    """The client does not read."""


class EventStream(Response):
    """One client's stream: a position of its own on the common feed, and nothing else.

    Nothing is queued: while the connection is full the position stands, and what comes next is read from there.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, position: int | None, topic_id: str | None, county: str | None, item: str | None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._life = hub.life.number
        self._reset = hub.unknown(position, topic_id) if position is not None else None
        self._position = hub.until if position is None else position
        self._county = county
        self._item = item
        self._ends_at = asyncio.get_running_loop().time() + LONGEST_SECONDS
        self._send: Callable[[Message], Awaitable[None]]
        self._sent_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send = send
        self._hub.clients += 1
        meters.STREAM_CLIENTS.inc()
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        following = asyncio.create_task(self._follow(scope))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({following, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.clients -= 1
            meters.STREAM_CLIENTS.dec()
            for task in (following, leaving):
                task.cancel()
            done = await asyncio.gather(following, leaving, return_exceptions=True)
        for outcome in done:
            if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
                raise outcome

    async def _follow(self, scope: Scope) -> None:
        try:
            await self._put(b"retry: %d\n: follows from %d\n\n" % (COMES_AGAIN_MS, self._position))
            while not self._hub.stopping:
                turn = self._hub.turn
                await self._put_news()
                if self._position >= self._hub.until and self._life == self._hub.life.number:
                    if asyncio.get_running_loop().time() >= self._ends_at:
                        await self._cut("again", "connect again with your last id: nothing is missed, and it is asked who you are")
                        return
                    await turn.wait()
            await self._cut("stopping", "this process ends: connect again, another one goes on from your last id")
        except Slow:
            await self._cut(
                "slow", f"nothing was read for {SLOW_SECONDS:.0f} s: connect again with your last id, nothing is missed"
            )
            abort = scope.get("extensions", {}).get(ABORT)
            if abort is not None:
                # What it did not read in all this time must not wait for it for ever.
                abort["call"]()

    async def _put_news(self) -> None:
        hub = self._hub
        if self._life != hub.life.number:
            self._life = hub.life.number
            self._reset = "the topic was made anew"
        if self._reset is not None:
            told = {"reason": self._reset, "topic_id": hub.life.topic_id}
            await self._put(_event("reset", told))
            self._reset, self._position = None, 0
        piece, position = hub.piece(self._position, self._county, self._item)
        if piece:
            await self._put(piece)
        elif asyncio.get_running_loop().time() - self._sent_at >= HEARTBEAT_SECONDS - 1:
            await self._put(b": alive\n\n")
        self._position = position

    async def _put(self, body: bytes) -> None:
        """Raises :class:`Slow` when the connection stays full. The server waits for room before it writes, so nothing is halved."""
        try:
            async with asyncio.timeout(SLOW_SECONDS):
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
        except TimeoutError:
            raise Slow from None
        self._sent_at = asyncio.get_running_loop().time()

    async def _cut(self, reason: str, why: str) -> None:
        meters.STREAM_CUT.labels(reason).inc()
        log.info("stream_cut", reason=reason, position=self._position, county=self._county, item=self._item)
        body = _event("cut", {"reason": reason, "detail": why})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._send({"type": "http.response.body", "body": body, "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))
