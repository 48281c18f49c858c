"""``county-metrics``: a reader of the topic alone has the whole picture, and versions rise whatever happens to who writes it."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.topics import create_topics, delete_topics
from services.metrics.domain.cases import MEASURES
from services.metrics.kafka.totals import AUDIT_SECONDS
from shared import counties, items
from shared.events.county_metric import CountyMetric
from tests import load, oracle
from tests.conftest import Credentials
from tests.guarantees.scene import Scene
from tests.guarantees.test_metrics_put_back import _put_back, _run
from tests.guarantees.test_metrics_rebuild import Stage
from tests.metrics_support import until
from tests.oracle import Event

PATIENCE_SECONDS = AUDIT_SECONDS + 60
"""What a publisher finds astray on the topic it may find at its next look only, and tells again then."""


async def told(scene: Scene) -> list[tuple[str, dict[str, Any]]]:
    """Every record of ``county-metrics`` by key, in order, as a new consumer reads them."""
    partition = TopicPartition(scene.topics.county_metrics, 0)
    async with AIOKafkaConsumer(bootstrap_servers=scene.kafka, auto_offset_reset="earliest") as consumer:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        found: list[tuple[str, dict[str, Any]]] = []
        while await consumer.position(partition) < end:
            records = (await consumer.getmany(partition, timeout_ms=200)).get(partition, ())
            found += [(record.key.decode(), orjson.loads(record.value)["data"]) for record in records]
        return found


def expected(distinct: Sequence[Event]) -> dict[str, int]:
    """What the totals must be, by the oracle: zeros of the roster included."""
    sums: Counter[str] = Counter()
    for (item, county, _, measure), n in oracle.count(distinct).items():
        sums[f"{county}|{item}|{measure}"] += n
    keys = (f"{c.code}|{i.code}|{m}" for c in counties.ROSTER for i in items.CATALOGUE for m in MEASURES)
    return {key: sums[key] for key in keys}


async def until_told(scene: Scene, distinct: Sequence[Event]) -> None:
    """Waits until the newest record of each key is what the oracle counts; nothing is missing, nothing too much."""
    wanted = expected(distinct)
    astray: dict[str, tuple[int | None, int | None]] = {}

    async def so() -> bool:
        found = {key: data["total"] for key, data in await told(scene)}
        keys = found.keys() | wanted.keys()
        astray.clear()
        astray.update({key: (found.get(key), wanted.get(key)) for key in keys if found.get(key) != wanted.get(key)})
        return not astray

    try:
        await until(so, PATIENCE_SECONDS)
    except AssertionError:
        some = dict(sorted(astray.items())[:5])
        taken, stored = await scene.taken(), await scene.stored()
        raise AssertionError(
            f"{len(astray)} totals (told, counted) differ: {some}; {taken} of {stored} records are taken"
        ) from None
    await rising(scene)


async def rising(scene: Scene) -> None:
    """Holds that each counter's versions rise from record to record; the same version is the same total, sent twice."""
    versions: dict[str, tuple[int, int]] = defaultdict(lambda: (0, -1))
    for key, data in await told(scene):
        before, total = versions[key]
        assert data["version"] > before or (data["version"], data["total"]) == (before, total), (key, before, data)
        assert key == CountyMetric.model_validate(data).key
        versions[key] = data["version"], data["total"]


async def test_the_topic_alone_has_the_whole_picture_through_kills_restores_and_rebuilds(
    scene: Scene, tmp_path: Path, credentials: Credentials
) -> None:
    distinct, arriving = load.season(71, cases=1200)
    third = len(arriving) // 3
    dump = tmp_path / "earlier.sql"

    def known(events: int) -> list[Event]:
        return [event for event in distinct if event in arriving[:events]]

    first = await scene.worker(BATCH_RECORDS="100")
    await until_told(scene, [])  # zeros, before anything was counted
    await scene.send(arriving[:third])
    await until_told(scene, known(third))
    await asyncio.to_thread(_run, "pg_dump", "--file", str(dump), scene.database.admin_dsn)

    # The publisher is killed under load, and another takes over.
    second = await scene.worker(BATCH_RECORDS="100")
    sending = asyncio.create_task(scene.send(arriving[third : 2 * third], pace=0.02))
    await scene.until_taken(third + third // 4)
    first.kill()
    await sending
    await scene.until_taken(2 * third)  # the group first has to notice that a member is gone
    await until_told(scene, known(2 * third))

    # The database is put back: what the topic knows by greater versions is told again.
    await _put_back(scene, dump)
    await scene.send(arriving[2 * third :])
    await scene.until_taken(len(arriving))
    await until_told(scene, distinct)

    # Rebuilt from the log beside the live tables, the totals are the same: nothing need be told again.
    before = await told(scene)
    stage = Stage(scene.kafka, scene.topics, scene.database, credentials)
    await stage.rebuilt("--from", "log")
    await stage.execute("insert into metrics.counters values ('retirement', '130602', '2024-01-01', 7, 0, 0, 0, 0, 0, 0, 0, 2)")

    async def drifted() -> bool:
        return ("130602|retirement|handled", 7) in [(key, data["total"]) for key, data in await told(scene)]

    await until(drifted)
    assert all(key.startswith("130602|retirement|") for key, _ in (await told(scene))[len(before) :])
    # Totals alone that were spoilt are drift too, and all is set right from the cases.
    await stage.execute("update metrics.totals set applied = applied + 3 where county = '130607'")
    await stage.rebuilt()
    await until_told(scene, distinct)

    # The topic is made anew: it is told everything again.
    await delete_topics(scene.kafka, [scene.topics.county_metrics])
    await create_topics(scene.kafka, [spec for spec in scene.topics.specs() if spec.name == scene.topics.county_metrics])
    assert second.terminate()
    await second.restart()
    await until_told(scene, distinct)
