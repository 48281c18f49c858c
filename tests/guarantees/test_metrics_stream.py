"""Following by snapshot and server-sent events: nothing is missed by who is cut, slow, filtered, or away; each is told why."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from deploy.local.topics import create_topics, delete_topics
from services.metrics.kafka.totals import encode
from services.metrics.store.totals import Counter, Total
from shared import counties, items
from shared.kafka import Message, Publisher
from tests import load
from tests.conftest import Credentials, Services
from tests.guarantees.scene import Scene
from tests.guarantees.test_metrics_totals import expected, told, until_told
from tests.metrics_support import until


class Event(NamedTuple):
    """One event as it came; ``name`` is empty for a comment."""

    name: str
    id: int | None
    data: Any
    at: float


async def events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """What a client of server-sent events makes of the lines."""
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        data = json.loads(fields["data"]) if "data" in fields else None
        yield Event(fields.get("event", ""), int(fields["id"]) if "id" in fields else None, data, asyncio.get_running_loop().time())
        fields = {}


class Dashboard:
    """A client that keeps the newest of each counter, and connects again whenever it is cut."""

    def __init__(self, url: str, token: str, **parameters: Any) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"}
        self.parameters = parameters
        self.totals: dict[str, int] = {}
        self.came: list[Event] = []
        self.last_id: int | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncIterator[Event]]:
        headers = self.headers | ({} if self.last_id is None else {"Last-Event-ID": str(self.last_id)})
        async with (
            httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60) as client,
            client.stream("GET", "/v1/stream", params=self.parameters, headers=headers) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield events(answer.aiter_lines())

    async def snapshot(self) -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60) as client:
            chosen = {name: value for name, value in self.parameters.items() if name in ("county", "item")}
            answer = await client.get("/v1/snapshot", params=chosen, headers=self.headers)
        found: dict[str, Any] = answer.raise_for_status().json()
        for row in found["rows"]:
            self.take(row)
        self.last_id = found["position"]["next_offset"] - 1
        return found

    def take(self, row: dict[str, Any]) -> None:
        self.totals[f"{row['county']}|{row['item']}|{row['measure']}"] = row["total"]

    async def follow(self, cuts: int = 0) -> None:
        """Follows for ever; cuts the connection itself after every few events, ``cuts`` times."""
        while True:
            cutting = cuts > 0
            cuts -= 1
            with contextlib.suppress(httpx.TransportError):
                async with self.connected() as coming:
                    seen = 0
                    async for event in coming:
                        self.came.append(event)
                        if event.name == "county-metric":
                            self.take(event.data)
                            self.last_id = event.id
                            seen += 1
                        if cutting and seen >= 25:
                            break
            await asyncio.sleep(0.05)


def paced(came: list[Event]) -> bool:
    """Whether no counter came more than five times within a second."""
    times: dict[tuple[str, str, str], list[float]] = {}
    for event in came:
        if event.name == "county-metric":
            key = event.data["county"], event.data["item"], event.data["measure"]
            times.setdefault(key, []).append(event.at)
    return all(later - earlier > 0.9 for of in times.values() for earlier, later in zip(of, of[5:], strict=False))


async def test_who_follows_misses_nothing_though_cut_filtered_or_moved_to_another_process(
    scene: Scene, service: Services, credentials: Credentials
) -> None:
    distinct, arriving = load.season(81, cases=900)
    third = len(arriving) // 3
    worker, api, other = await asyncio.gather(
        scene.worker(BATCH_RECORDS="50"), service("metrics", "api"), service("metrics", "api")
    )
    token = credentials.reader_token
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
        assert (await client.get("/v1/stream")).status_code == 401
        assert (await client.get("/v1/snapshot")).status_code == 401
        client.headers["Authorization"] = f"Bearer {token}"
        for parameters, pointer in (({"county": "999999"}, "/query/county"), ({"item": "x"}, "/query/item")):
            for path in ("/v1/stream", "/v1/snapshot"):
                wrong = await client.get(path, params=parameters)
                assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, pointer)
        wrong = await client.get("/v1/stream", headers={"Last-Event-ID": "abc"})
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/header/last-event-id")
    await until_told(scene, [])
    await scene.send(arriving[:third])
    await scene.until_taken(third // 2)

    whole, cut, now = Dashboard(api.url, token), Dashboard(api.url, token), Dashboard(other.url, token)
    filtered = Dashboard(other.url, token, county="130607", item=items.CATALOGUE[0].code)
    found = await whole.snapshot()
    assert found["position"]["topic"] == scene.topics.county_metrics
    assert found["position"]["partition"] == 0
    assert len(found["rows"]) == len(expected([]))
    await cut.snapshot()
    # From the position by the address, as a browser has to.
    seen = await filtered.snapshot()
    filtered.parameters |= {"from_offset": seen["position"]["next_offset"], "topic_id": seen["position"]["topic_id"]}
    filtered.last_id = None
    following = [asyncio.create_task(one.follow(cuts)) for one, cuts in ((whole, 0), (cut, 12), (filtered, 0), (now, 0))]
    try:
        await scene.send(arriving[third:], pace=0.05)
        await until_told(scene, distinct)
        wanted = expected(distinct)

        async def all_there() -> bool:
            return whole.totals == wanted and cut.totals == wanted

        await until(all_there, 20)
        part = {key: n for key, n in wanted.items() if key.startswith(f"130607|{items.CATALOGUE[0].code}|")}

        async def filter_there() -> bool:
            return filtered.totals == part

        await until(filter_there, 20)
        for one in (whole, cut, filtered, now):
            assert paced(one.came), "a counter came more than five times a second"
            ids = [event.id for event in one.came if event.id is not None]
            assert ids == sorted(set(ids))
            assert not [event for event in one.came if event.name == "reset"]
        assert now.came
        assert now.totals.items() <= wanted.items()
        records = await told(scene)
        by_offset = {event.id: event.data for event in whole.came if event.id is not None}
        assert all(records[offset][1] == data for offset, data in by_offset.items())
        # The process ends: it says so, and its end is not held up.
        assert api.terminate()
        await until(lambda: _ended(whole))
    finally:
        for task in following:
            task.cancel()
        await asyncio.wait(following)
    last = [event for event in whole.came if event.name][-1]
    assert (last.name, last.data["reason"]) == ("cut", "stopping")

    # A position of another life, or beyond the end: it is said, and the whole picture comes.
    for parameters, last_id in (({"topic_id": "0" * 8}, 5), ({}, 10**9)):
        again = Dashboard(other.url, token, **parameters)
        again.last_id = last_id
        async with again.connected() as coming:
            names = []
            async for event in coming:
                names += [event.name] if event.name else []
                if event.name == "county-metric":
                    again.take(event.data)
                if again.totals == wanted:
                    break
        assert names.count("reset") == 1
        assert names[0] == "reset"

    # The topic is made anew under those who follow.
    assert worker.terminate()
    again = Dashboard(other.url, token)
    await again.snapshot()
    task = asyncio.create_task(again.follow())
    await asyncio.sleep(0.5)
    await delete_topics(scene.kafka, [scene.topics.county_metrics])
    await create_topics(scene.kafka, [spec for spec in scene.topics.specs() if spec.name == scene.topics.county_metrics])
    again.totals.clear()
    await worker.restart()

    async def there_again() -> bool:
        return again.totals == wanted

    await until(there_again, 40)
    task.cancel()
    await asyncio.wait([task])
    assert next(event.name for event in again.came if event.name) == "reset"


async def _ended(dashboard: Dashboard) -> bool:
    return bool(dashboard.came) and dashboard.came[-1].name == "cut"


def total(county: str, item: str, measure: str, n: int, version: int) -> Message:
    at = datetime(2024, 9, 30, tzinfo=UTC)
    counter = Counter(county, item, measure)
    return Message("", "|".join(counter), encode(Total(counter, n, version, at), at))


async def test_who_does_not_read_is_cut_with_a_reason(scene: Scene, service: Services, credentials: Credentials) -> None:
    api = await service("metrics", "api")
    address = urlsplit(api.url)
    headers = {"Authorization": f"Bearer {credentials.reader_token}"}
    keys = [(c.code, i.code) for c in counties.ROSTER for i in items.CATALOGUE]

    async def followed() -> bool:
        async with httpx.AsyncClient(base_url=api.url, trust_env=False, headers=headers) as client:
            return (await client.get("/v1/snapshot")).is_success

    await until(followed)
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect((address.hostname, address.port))
        lazy.sendall(
            f"GET /v1/stream?from_offset=0 HTTP/1.1\r\nHost: x\r\nAuthorization: {headers['Authorization']}\r\n\r\n".encode()
        )
        version = 0
        async with (
            Publisher(scene.kafka, client_id="test", timeout_seconds=30) as publisher,
            httpx.AsyncClient(base_url=api.url, trust_env=False, headers=headers) as client,
        ):

            async def is_cut() -> bool:
                nonlocal version
                version += 1
                await publisher.publish(
                    [
                        total(*key, measure, version, version)._replace(topic=scene.topics.county_metrics)
                        for key in keys
                        for measure in ("handled", "applied", "accepted", "completed")
                    ]
                )
                await asyncio.sleep(0.2)
                return 'onething_metrics_stream_cut_total{reason="slow"} 1.0' in (await client.get("/metrics")).text

            await until(is_cut, 60)
        lazy.settimeout(20)
        read = bytearray()
        while more := lazy.recv(1 << 20):
            read += more
        assert b'event: cut\ndata: {"reason":"slow"' in bytes(read[-4096:])
    assert '"stream_cut"' in api.log
