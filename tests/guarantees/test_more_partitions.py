"""The way to more partitions, step by step as docs/operations.md has it, with the script that stands there.

What may be observed: no figure moves while the copied log is read again, though every case's events are at other places; what
comes afterwards counts once; the companies' snapshots are told to the new topic.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent

import orjson
import pytest

from deploy.local.parts import ROOT, base_environment
from deploy.local.topics import delete_topics
from shared.kafka import LogReader, Message, Publisher, Record, Topics
from tests import load
from tests import utilities_oracle as companies
from tests.conftest import Services
from tests.guarantees.scene import Scene
from tests.intake_support import event
from tests.metrics_support import counted, taken, until
from tests.utilities_support import PAIRS, as_told, events_of, import_registry, newest

PARTITIONS = 24


@pytest.fixture
async def wider(kafka: str, topics: Topics) -> AsyncIterator[Topics]:
    """The names that the new topics get."""
    made = Topics(f"{topics.prefix}-b")
    yield made
    await delete_topics(kafka, [spec.name for spec in made.specs()])


async def _run(*arguments: str, script: str | None = None, **variables: str) -> str:
    """Runs Python as an operator would; gives what it says."""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, *arguments], input=script, env=base_environment() | variables, cwd=ROOT, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    return str(done.stdout)


def _copy_script() -> str:
    guide = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?client_id=\"copy\".*?)```", guide, re.DOTALL)
    assert found, "the guide has the script that copies a topic"
    return dedent(found[1])


async def _records(kafka: str, topic: str) -> list[Record]:
    """All that is in a topic at rest, however many partitions it has."""
    found: list[Record] = []
    async with LogReader(kafka, [topic], client_id="test") as reader:
        ends = await reader.ends()
        while any(at < ends[place] for place, at in (await reader.positions()).items()):
            for records in (await reader.read(2000)).values():
                found += records
    return found


async def test_the_log_is_copied_to_more_partitions_and_no_figure_moves(
    scene: Scene, service: Services, wider: Topics, tmp_path: Path
) -> None:
    kafka, topics, database = scene.kafka, scene.topics, scene.database
    await import_registry(database.dsn("utilities"))
    distinct, arriving = load.season(71, cases=1500)
    half = len(arriving) // 2
    reports = companies.season(71, PAIRS, installations=100)
    metrics, utilities = await scene.worker(), await service("utilities", "worker")
    await scene.send(arriving[:half])
    await scene.send(reports, topic=topics.utility_events)
    await scene.until_taken(half)

    async def all_told(names: Topics) -> bool:
        snapshots = newest(await _records(kafka, names.progress))
        return as_told(snapshots) == companies.told(reports) and sum(kind == "registry" for kind, _ in snapshots) == len(PAIRS)

    await until(lambda: all_told(topics))
    before = await counted(database.admin_dsn)
    assert before

    make = ["topics", "--kafka", kafka, "--prefix", wider.prefix, "--partitions", str(PARTITIONS), "--replication", "1"]
    said = await _run("-m", "deploy.local", *make)
    assert wider.case_events in said
    assert metrics.terminate()
    assert utilities.terminate()
    script = _copy_script()
    # The case events twice, as after a copy that was begun again.
    for name in ("case_events", "case_events", "utility_events", "parked"):
        await _run("-", kafka, getattr(topics, name), getattr(wider, name), script=script)
    copied = await _records(kafka, wider.case_events)
    assert len(copied) == 2 * half
    assert len({record.partition for record in copied}) == PARTITIONS

    # The province goes on writing under the old name.
    async with Publisher(kafka, client_id="test") as province:
        await province.publish([Message(topics.province_push, "BD-late", orjson.dumps(event("late", "BD-late")))])
    utilities = await service("utilities", "worker", ONETHING_TOPIC_PREFIX=wider.prefix)
    metrics = await scene.worker(TOPIC_PREFIX=wider.prefix)

    async def read_again() -> bool:
        done = await taken(database.admin_dsn, wider.case_events)
        assert await counted(database.admin_dsn) == before, "figures stand while the log is read again"
        return done == 2 * half

    await until(read_again)
    await _run("-m", "services.utilities.main", "publish-again", **utilities.part.environment)
    await until(lambda: all_told(wider))
    await scene.send(arriving[half:], topic=wider.case_events)

    async def rest_taken() -> bool:
        return await taken(database.admin_dsn, wider.case_events) == len(arriving) + half

    await until(rest_taken)
    await scene.exact(distinct)

    async def totals_told() -> bool:
        told = {record.key for record in await _records(kafka, wider.county_metrics)}
        return {f"{county}|{item}|handled".encode() for item, county, _, measure in before if measure == "handled"} <= told

    await until(totals_told)

    await _run("-", kafka, topics.province_push, wider.province_push, script=script)
    await service("intake", "worker", ONETHING_TOPIC_PREFIX=wider.prefix)

    async def late_came() -> bool:
        return "late" in {found["id"] for found in events_of(await _records(kafka, wider.case_events))}

    await until(late_came)
