"""The load on an HTTP edge: a client so lean that it is not what is measured.

``python -m benchmarks.pusher`` is told by its environment. ``closed``: each of ``connections`` sends its next request when the last
one is answered. ``open``: requests are due at ``per_second``, whether earlier ones were answered or not; what finds no connection
free is not sent, but counted as late. ``get`` is as ``closed``, and asks instead of pushing.
"""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, Final

import uvloop

from benchmarks import rival
from benchmarks.load import Workload
from benchmarks.pushes import Request, question, requests
from benchmarks.rival import Clock

TICK_SECONDS: Final = 0.005
_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "

Answered = Callable[["Connection", Request, int, float], None]
"""Told connection, request, status (0: the connection broke) and seconds."""


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request under way. Reads no more of an answer than status and length."""

    def __init__(self, answered: Answered) -> None:
        self._answered = answered
        self._request: Request | None = None
        self._buffer = b""
        self._missing = 0
        self._status = 0
        self._sent = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def send(self, request: Request) -> None:
        assert self.transport is not None
        self._request = request
        self._sent = time.perf_counter()
        self.transport.writelines(request.parts())

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            self._buffer += data
            end = self._buffer.find(_END)
            if end < 0:
                return
            head = self._buffer[:end].lower()
            at = head.find(_LENGTH)
            if at < 0:
                raise ValueError(f"an answer without a length: {head!r}")
            self._status = int(head[9:12])
            length = int(head[at + len(_LENGTH) :].partition(b"\r")[0])
            self._missing = len(_END) + end + length - len(self._buffer)
            self._buffer = b""
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self._done(self._status)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._request is not None:
            self._done(0)

    def _done(self, status: int) -> None:
        request, self._request = self._request, None
        assert request is not None, "an answer came to no request"
        self._missing = 0
        self._answered(self, request, status, time.perf_counter() - self._sent)


class Load:
    """What was answered between :meth:`begin` and :meth:`end`: by status, and the seconds of those that were accepted."""

    def __init__(self, made: Sequence[Request]) -> None:
        self._next = cycle(made)
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.accepted: Counter[str] = Counter()
        """How often each request was answered 202, by name; from the very first one on."""
        self.under_way = 0
        self.stopped = False
        self._quiet = asyncio.Event()
        self.answered = asyncio.Event()

    def closed(self, connection: Connection, request: Request, status: int, seconds: float) -> None:
        self._count(request, status, seconds)
        if not self.stopped and connection.transport is not None:
            self.launch(connection)

    def launch(self, connection: Connection) -> None:
        self.under_way += 1
        connection.send(next(self._next))

    def _count(self, request: Request, status: int, seconds: float) -> None:
        self.under_way -= 1
        if self.stopped and not self.under_way:
            self._quiet.set()
        self.statuses[status] += 1
        self.answered.set()
        if 200 <= status < 300:
            self.seconds.append(seconds)
            self.accepted[request.name] += 1

    def begin(self) -> None:
        self.statuses.clear()
        self.answered.clear()
        self.seconds.clear()

    async def ended(self) -> None:
        """Sends no more, and waits for what is under way."""
        self.stopped = True
        if self.under_way:
            await self._quiet.wait()


class OpenLoad(Load):
    """As :class:`Load`, but at a pace. ``late`` counts what was due while every connection was waiting for an answer."""

    def __init__(self, made: Sequence[Request]) -> None:
        super().__init__(made)
        self.free: deque[Connection] = deque()
        self.offered = 0
        self.late = 0

    def opened(self, connection: Connection, request: Request, status: int, seconds: float) -> None:
        self._count(request, status, seconds)
        if connection.transport is not None:
            self.free.append(connection)

    async def pace(self, per_second: float, seconds: float) -> None:
        """Offers what is due until ``seconds`` are over."""
        begun = time.perf_counter()
        while (now := time.perf_counter() - begun) < seconds:
            due = int(now * per_second) - self.offered
            self.offered += due
            for _ in range(due):
                if not self.free:
                    self.late += 1
                    continue
                self.launch(self.free.popleft())
            await asyncio.sleep(TICK_SECONDS)


async def connect(url: str, count: int, answered: Answered) -> list[Connection]:
    """``count`` connections to the host of ``url``."""
    host, _, port = url.rpartition("/")[2].partition(":")
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Connection(answered), host, int(port)) for _ in range(count)]
    return [connection for _, connection in made]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds: p50, p99, the most, and of how many."""
    ordered = sorted(seconds)
    if not ordered:
        return {"n": 0}

    def at(share: float) -> float:
        return round(ordered[math.ceil(share * len(ordered)) - 1] * 1000, 2)

    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0), "n": len(ordered)}


def prepared(given: dict[str, Any]) -> Sequence[Request]:
    """The requests that this process is told to send."""
    host = given["url"].rpartition("/")[2]
    if given["how"] == "get":
        return [question(path, host, given["token"]) for path in given["paths"]]
    batch, count = given["batch"], given["requests"]
    size = (batch or 1) * count
    load = Workload(given["seed"], size, -(-size // 3))
    return requests(load, batch, count, path=given["path"], host=host, secret=given["secret"], plain=given["secret"] is None)


async def closed(given: dict[str, Any]) -> dict[str, Any]:
    """Runs the closed load; returns rate, latencies and CPU time of client and servers."""
    load = Load(prepared(given))
    connections = await connect(given["url"], given["connections"], load.closed)
    for connection in connections:
        load.launch(connection)
    await asyncio.sleep(given["warm_seconds"])
    clock = Clock(given["servers"])
    load.begin()
    clock.start()
    await asyncio.sleep(given["seconds"])
    # A turn so short on a machine so busy that nothing was answered in it goes on.
    await load.answered.wait()
    clock.stop()
    statuses, seconds = dict(load.statuses), list(load.seconds)
    await load.ended()
    requests_done = sum(n for status, n in statuses.items() if 200 <= status < 300)
    return clock.measured(requests_done * (given["batch"] or 1)) | {
        "requests": requests_done,
        "statuses": statuses,
        "latency": percentiles(seconds),
        "accepted": dict(load.accepted),
    }


async def opened(given: dict[str, Any]) -> dict[str, Any]:
    """Runs the open load; returns what was offered, what became of it, and CPU time of client and servers."""
    load = OpenLoad(prepared(given))
    load.free.extend(await connect(given["url"], given["connections"], load.opened))
    clock = Clock(given["servers"])
    clock.start()
    await load.pace(given["per_second"], given["seconds"])
    clock.stop()
    statuses, seconds = dict(load.statuses), list(load.seconds)
    await load.ended()
    return clock.measured(sum(n for status, n in statuses.items() if 200 <= status < 300) * (given["batch"] or 1)) | {
        "offered": load.offered,
        "late": load.late,
        "broken": given["connections"] - len(load.free),
        "statuses": statuses,
        "latency": percentiles(seconds),
        "accepted": dict(load.accepted),
    }


async def main() -> None:
    given = rival.given()
    rival.say(await (opened if given["how"] == "open" else closed)(given))


if __name__ == "__main__":
    uvloop.run(main())
