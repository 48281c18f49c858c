"""What tests of the utilities service share: a registry, signed pushes, and reading a topic to its end."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from fastapi import FastAPI
from pydantic import SecretStr

from services.utilities.handlers import registry as registries
from services.utilities.settings import LIMITS as LIMITS_FILE
from services.utilities.settings import Settings, read_limits
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.kafka import Record
from shared.kafka.topics import PARTITIONS
from shared.postgres import Pool, open_pool
from shared.signing import Key

REGISTRY = """company,name,service,county,valid_from,valid_to
water-1,甲供水公司,water,130607,2023-01-01,
water-1,甲供水公司,drainage,130607,2023-01-01,
gas-1,乙燃气公司,gas,130607,2023-01-01,2024-07-01
gas-1,乙燃气公司,gas,130608,2024-07-01,
power-1,丙供电公司,power,130607,2023-01-01,
power-1,丙供电公司,power,130608,2023-01-01,
"""

LIMITS = read_limits(LIMITS_FILE)

PAIRS = [
    ("130607", "water-1", "water"),
    ("130607", "water-1", "drainage"),
    ("130607", "gas-1", "gas"),
    ("130608", "gas-1", "gas"),
    ("130607", "power-1", "power"),
    ("130608", "power-1", "power"),
]


def settings(kafka: str, prefix: str, dsn: str, companies: Path | None = None) -> Settings:
    """Settings of a process inside the test."""
    return Settings(
        kafka=kafka, topic_prefix=prefix, postgres_dsn=SecretStr(dsn), companies_file=companies, batch_records=200,
        receipt_key_file=companies.with_name("receipt.pem") if companies else None,
    )  # fmt: skip


@asynccontextmanager
async def pool_of(dsn: str) -> AsyncIterator[Pool]:
    """A pool of the service's role."""
    async with await open_pool(dsn, application="test", size=4) as pool:
        yield pool


async def import_registry(dsn: str, text: str = REGISTRY) -> registries.Import:
    """Makes the registry what ``text`` says."""
    async with pool_of(dsn) as pool:
        return await registries.import_registry(pool, text.encode(), datetime.now(UTC))


def signed(secret: str, body: bytes, media_type: str, *, age: int = 0, message_id: str = "m-1") -> dict[str, str]:
    """The headers of a push of ``body``, signed ``age`` seconds ago."""
    stamp = int(time.time()) - age
    return {
        "content-type": media_type,
        "webhook-id": message_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": Key(secret).sign(message_id, stamp, body),
    }


async def push(client: httpx.AsyncClient, company: str, secret: str, content: Any) -> httpx.Response:
    """Pushes one event, or a list of them as a batch."""
    body = orjson.dumps(content)
    media_type = BATCH_MEDIA_TYPE if isinstance(content, list) else MEDIA_TYPE
    return await client.post(f"/v1/companies/{company}/events", content=body, headers=signed(secret, body, media_type))


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of ``app``, whose lifespan runs meanwhile."""
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://utilities") as client:
        yield client


async def records_of(kafka: str, topic: str) -> list[Record]:
    """All records of ``topic`` up to its present end, partition by partition."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[Record] = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
    return sorted(found, key=lambda record: (record.partition, record.offset))


def events_of(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The records' CloudEvents."""
    return [orjson.loads(record.value or b"") for record in records]


def newest(records: Sequence[Record]) -> dict[tuple[str, str], dict[str, Any]]:
    """The snapshot of the highest version of each kind and subject."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events_of(records):
        data = event["data"]
        key = (data["kind"], data["subject"])
        if key not in found or found[key]["version"] <= data["version"]:
            found[key] = data
    return found


def as_told(snapshots: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any] | None]:
    """Snapshots of presence, windows and installations in the oracle's words."""
    return {
        key: None if snapshot["deleted"] else snapshot["state"]
        for key, snapshot in snapshots.items()
        if key[0] in ("presence", "window", "installation")
    }


async def stored(admin_dsn: str) -> dict[tuple[str, str], dict[str, Any] | None]:
    """What the database holds of presence, windows and installations, in the oracle's words."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        rows = await connection.fetch(
            "select 'presence' as kind, subject, deleted, state from utilities.presence"
            " union all select 'window', subject, deleted, state from utilities.windows"
            " union all select 'installation', subject, deleted, state from utilities.installations"
        )
    finally:
        await connection.close()
    return {(row["kind"], row["subject"]): None if row["deleted"] else orjson.loads(row["state"]) for row in rows}


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 40.0) -> None:
    """Waits until ``condition`` holds; fails the test after ``seconds``."""
    for _ in range(int(seconds * 10)):
        if await condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not so within {seconds} s")
