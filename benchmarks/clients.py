"""What is asked of the api while the worker counts: figures at a fixed pace, and when a new event can first be seen."""

import asyncio
import itertools
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Self

import httpx

from benchmarks.load import FIRST_DAY, ITEMS, PROBE_ITEM, Event, Probe, probe
from benchmarks.stage import BenchError
from shared.kafka import Message, Publisher

AT_ONCE: Final = 8
"""Requests of a route under way at most, as of a bounded client; one that waits for its turn is measured from when it was due."""
LATE_SECONDS: Final = 1.0
"""What is later than that is not asked any more, but counted as missed: an overload is to be seen, not to be made worse."""
FEWEST: Final = 10
POLL_SECONDS: Final = 0.02
TICK_SECONDS: Final = 0.02


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds: p50, p99 and the most, with how many they are of."""
    if not seconds:
        raise BenchError("nothing was measured: the run was too short")
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return round(ordered[math.ceil(share * len(ordered)) - 1] * 1000, 2)

    return {"p50_ms": at(0.50), "p99_ms": at(0.99), "max_ms": at(1.0), "n": len(ordered)}


def client(url: str, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60,
        limits=httpx.Limits(max_connections=3 * AT_ONCE, max_keepalive_connections=3 * AT_ONCE),
    )  # fmt: skip


async def _answer(api: httpx.AsyncClient, path: str, parameters: dict[str, Any]) -> Any:
    answer = await api.get(path, params=parameters)
    if answer.status_code != 200:
        raise BenchError(f"{path} answered {answer.status_code}: {answer.text[:300]}")
    return answer.json()


@dataclass
class Readers:
    """Within ``async with``: ``/v1/ranking`` and ``/v1/counts``, each ``per_second`` times, whether answers come or not.

    At least :data:`FEWEST` answers of each are waited for, which matters to a very short run alone.
    """

    api: httpx.AsyncClient
    per_second: float = 20.0
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"ranking": [], "counts": []})
    of_all_items: list[float] = field(default_factory=list)
    """The dearest question's share of ``counts``: a table of every item, over all counties and days."""
    missed: dict[str, int] = field(default_factory=lambda: {"ranking": 0, "counts": 0})
    errors: list[BaseException] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def warm(self) -> None:
        """Connects and asks once: a dashboard keeps its connection, and the server has its statements prepared."""
        for path in self.seconds:
            await _answer(self.api, f"/v1/{path}", {"item": ITEMS[0]})

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._pace(kind)) for kind in self.seconds]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.enough.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def result(self) -> dict[str, dict[str, float]]:
        """Percentiles by route.

        Raises:
            BenchError: a request failed.
        """
        if self.errors:
            raise BenchError(f"{len(self.errors)} reads failed, the first with {self.errors[0]!r}")
        found = {kind: percentiles(seconds) | {"missed": self.missed[kind]} for kind, seconds in self.seconds.items()}
        if self.of_all_items:
            found["counts of all items"] = percentiles(self.of_all_items)
        return found

    async def _pace(self, kind: str) -> None:
        draw = random.Random(kind)
        begun = time.perf_counter() + (0.5 / self.per_second if kind == "counts" else 0.0)
        turns = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                due = begun + number / self.per_second
                await asyncio.sleep(due - time.perf_counter())
                await turns.acquire()
                if time.perf_counter() - due > LATE_SECONDS:
                    self.missed[kind] += 1
                    turns.release()
                else:
                    group.create_task(self._ask(kind, due, _question(kind, number, draw), turns))

    async def _ask(self, kind: str, due: float, parameters: dict[str, Any], turns: asyncio.Semaphore) -> None:
        try:
            await _answer(self.api, f"/v1/{kind}", parameters)
        except (BenchError, httpx.HTTPError) as error:
            self.errors.append(error)
        else:
            took = time.perf_counter() - due
            self.seconds[kind].append(took)
            if "item" not in parameters:
                self.of_all_items.append(took)
        finally:
            turns.release()
        if self.errors or min(map(len, self.seconds.values())) >= FEWEST:
            self.enough.set()


def _question(kind: str, number: int, draw: random.Random) -> dict[str, Any]:
    """What a director's page and a dashboard ask: an item's table or months, now or for a past day; every item's table."""
    as_of = (FIRST_DAY + timedelta(days=draw.randrange(60, 190))).isoformat()
    item = draw.choice(ITEMS)
    if kind == "ranking":
        return {"item": item, "top": 5} if number % 2 else {"item": item, "as_of": as_of}
    return ({"item": item}, {"item": item, "as_of": as_of}, {"item": item, "group_by": "month"}, {"group_by": "item"})[number % 4]


async def publish_paced(
    publisher: Publisher, topic: str, events: Iterator[Event], per_second: float, seconds: float
) -> tuple[int, float]:
    """Publishes as intake does, ``per_second`` evenly over ``seconds``; returns how many, and in what time."""
    begun = time.perf_counter()
    sent = 0
    async with asyncio.TaskGroup() as group:
        while (now := time.perf_counter() - begun) < seconds:
            due = int(min(now, seconds) * per_second) - sent
            messages = [Message(topic, event.case.number, event.value) for event in itertools.islice(events, due)]
            group.create_task(publisher.publish(messages))
            sent += len(messages)
            await asyncio.sleep(TICK_SECONDS)
    return sent, time.perf_counter() - begun


async def freshness(
    publisher: Publisher, topic: str, api: httpx.AsyncClient, probes: int, every: float, limit: float = 30.0
) -> tuple[list[float], list[Probe]]:
    """Seconds from a probe's acceptance (Kafka's word, on which intake answers 202) to when the api shows it; and the probes.

    Each probe is a case of a day of its own, so that one figure rises from 0 to 1.
    """
    found: list[float] = []
    probed: list[Probe] = []
    begun = time.perf_counter()
    for number in range(probes):
        await asyncio.sleep(begun + number * every - time.perf_counter())
        sent = probe(number)
        day = sent.day.isoformat()
        await publisher.publish([Message(topic, sent.event.case.number, sent.event.value)])
        accepted = time.perf_counter()
        while not (await _answer(api, "/v1/counts", {"item": PROBE_ITEM, "from": day, "as_of": day}))["total"]["handled"]:
            if time.perf_counter() - accepted > limit:
                raise BenchError(f"an accepted event could not be seen within {limit:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
        found.append(time.perf_counter() - accepted)
        probed.append(sent)
    return found, probed
