"""What is asked of the api while the worker counts: figures at a fixed pace, and when a new event can first be seen."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

import httpx

from benchmarks import pusher
from benchmarks.load import ITEMS, PROBE_ITEM, Event, Probe, probe
from benchmarks.reader import BEGUN, KINDS
from benchmarks.stage import BenchError, Stage
from shared.kafka import Message, Publisher

CONNECTIONS: Final = 8
LONGEST_SECONDS: Final = 30.0
"""How long the reader may take to begin, or to end."""
POLL_SECONDS: Final = 0.02
TICK_SECONDS: Final = 0.02


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds: p50, p99 and the most, with how many they are of.

    Raises:
        BenchError: there are none.
    """
    if not seconds:
        raise BenchError("nothing was measured: the run was too short")
    return pusher.percentiles(seconds)


def client(url: str, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60,
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
    )  # fmt: skip


async def _answer(api: httpx.AsyncClient, path: str, parameters: dict[str, Any]) -> Any:
    answer = await api.get(path, params=parameters)
    if answer.status_code != 200:
        raise BenchError(f"{path} answered {answer.status_code}: {answer.text[:300]}")
    return answer.json()


class Readers:
    """Within ``async with``: ``/v1/ranking`` and ``/v1/counts``, each ``per_second`` times, by a process of its own
    (``benchmarks.reader``)."""

    def __init__(self, stage: Stage, api: httpx.AsyncClient, per_second: float = 20.0) -> None:
        self._stage = stage
        self._api = api
        self._per_second = per_second
        self._said: dict[str, Any] = {}

    async def warm(self) -> None:
        """Asks once: the server has its statements prepared."""
        for path in KINDS:
            await _answer(self._api, f"/v1/{path}", {"item": ITEMS[0]})

    async def __aenter__(self) -> Self:
        given = {"url": str(self._api.base_url).rstrip("/"), "token": self._stage.reader_token, "per_second": self._per_second}
        self._reading = contextlib.AsyncExitStack()
        self._reader = await self._reading.enter_async_context(self._stage.running("reader", given))
        await self._reader.begun(BEGUN, LONGEST_SECONDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._reading:
            self._said = await self._reader.ended(LONGEST_SECONDS)

    def result(self) -> dict[str, dict[str, float]]:
        """Percentiles by route.

        Raises:
            BenchError: a request failed.
        """
        if set(self._said["statuses"]) != {"200"}:
            raise BenchError(f"reads were answered {self._said['statuses']}: 200 alone is right here")
        reads: dict[str, dict[str, float]] = self._said["reads"]
        return reads


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
