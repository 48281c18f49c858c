"""Reads at a fixed pace: ``python -m benchmarks.reader`` is told by its environment, goes on until SIGTERM, and says what it saw.

A process of its own with a lean client, so that what else the benchmark does is not in the figure. A request is measured from when
it was due; one that is a second late, as every connection still waits, is not asked any more, but counted as missed: an overload is
to be seen, not to be made worse.
"""

import asyncio
import itertools
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

import uvloop

from benchmarks import rival
from benchmarks.load import FIRST_DAY, ITEMS
from benchmarks.pusher import Connection, connect, percentiles
from benchmarks.pushes import Request, question

AT_ONCE: Final = 8
"""Requests of a route under way at most, as of a bounded client."""
LATE_SECONDS: Final = 1.0
FEWEST: Final = 10
"""Answers of each route that are waited for at least; matters to a very short run alone."""
BEGUN: Final = "begun"
"""Said when it begins; from then on it can be told to end."""
KINDS: Final = ("ranking", "counts")
DEAREST: Final = "counts of all items"


def asked(kind: str, number: int, draw: random.Random) -> dict[str, Any]:
    """What a director's page and a dashboard ask: an item's table or months, now or for a past day; every item's table."""
    as_of = (FIRST_DAY + timedelta(days=draw.randrange(60, 190))).isoformat()
    item = draw.choice(ITEMS)
    if kind == "ranking":
        return {"item": item, "top": 5} if number % 2 else {"item": item, "as_of": as_of}
    return ({"item": item}, {"item": item, "as_of": as_of}, {"item": item, "group_by": "month"}, {"group_by": "item"})[number % 4]


class Reads:
    """The answers so far."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.host = given["url"].rpartition("/")[2]
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.missed: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.due: dict[Connection, float] = {}
        self.free: dict[str, asyncio.Queue[Connection]] = {kind: asyncio.Queue() for kind in KINDS}
        self.stopping = asyncio.Event()

    def answered(self, connection: Connection, request: Request, status: int, __: float) -> None:
        took = time.perf_counter() - self.due.pop(connection)
        kind, _, dearest = request.name.partition("|")
        self.statuses[status] += 1
        self.seconds[kind].append(took)
        if dearest:
            self.seconds[DEAREST].append(took)
        if connection.transport is not None:
            self.free[kind].put_nowait(connection)

    async def run(self) -> dict[str, Any]:
        """Goes on until told to stop; each route starts half an interval after the other."""
        for kind in KINDS:
            for connection in await connect(self.given["url"], AT_ONCE, self.answered):
                self.free[kind].put_nowait(connection)
        sys.stdout.write(BEGUN + "\n")
        sys.stdout.flush()
        await asyncio.gather(*(self._pace(kind, place) for place, kind in enumerate(KINDS)))
        for free in self.free.values():
            for _ in range(AT_ONCE):
                await free.get()
        return {
            "statuses": dict(self.statuses),
            "reads": {kind: percentiles(found) | {"missed": self.missed[kind]} for kind, found in self.seconds.items()},
        }

    async def _pace(self, kind: str, place: int) -> None:
        draw, every = random.Random(kind), 1 / self.given["per_second"]
        begun = time.perf_counter() + place * every / len(KINDS)
        for number in itertools.count():
            due = begun + number * every
            await asyncio.sleep(due - time.perf_counter())
            if self.stopping.is_set() and len(self.seconds[kind]) >= FEWEST:
                return
            connection = await self.free[kind].get()
            if time.perf_counter() - due > LATE_SECONDS:
                self.missed[kind] += 1
                self.free[kind].put_nowait(connection)
                continue
            parameters = asked(kind, number, draw)
            name = kind if "item" in parameters else f"{kind}|all"
            self.due[connection] = due
            connection.send(question(f"/v1/{kind}?{urlencode(parameters)}", self.host, self.given["token"], name))


async def main() -> None:
    reads = Reads(rival.given())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, reads.stopping.set)
    rival.say(await reads.run())


if __name__ == "__main__":
    uvloop.run(main())
