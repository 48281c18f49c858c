"""Composition of the worker: consumers, publisher of snapshots, and a small app that shows their health."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog
from fastapi import FastAPI
from faststream.kafka import KafkaBroker

from services.utilities.domain.limits import TimeLimits
from services.utilities.handlers import due, observing
from services.utilities.kafka import consuming, telling
from services.utilities.settings import Settings, read_limits
from shared import headers, postgres, problems, tasks, web
from shared.clock import Clock, now
from shared.kafka import Bootstrap, PartitionConsumer, Publisher, Topics, new_broker, start_patiently
from shared.parking import Digest
from shared.unusable import Limits, Watch

log = structlog.get_logger()

RETRY_SECONDS: Final = 1.0

Check = Callable[[postgres.Pool | None], Awaitable[str | None]]
"""Says what is wrong with the database; ``None``: nothing."""


def build_worker(settings: Settings, database: Check, clock: Clock = now) -> FastAPI:
    """The worker.

    Raises:
        OSError, ValueError: the time limits cannot be used.
        DigestKeyError: the digests' key cannot be used.
    """
    topics = Topics(settings.topic_prefix)
    limits = read_limits(settings.limits_file)
    digest = Digest.of_file(settings.digest_key_file)
    pool: postgres.Pool | None = None
    consumers: list[PartitionConsumer] = []
    snapshots: telling.SnapshotPublisher | None = None
    publishing: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal pool, snapshots, publishing
        dsn = settings.postgres_dsn.get_secret_value()
        changed = asyncio.Event()
        async with (
            await postgres.open_pool(dsn, application="utilities-worker", size=settings.pool_size) as pool,
            Publisher(settings.kafka, client_id="utilities-worker") as publisher,
        ):
            snapshots = telling.SnapshotPublisher(pool, publisher, topics, limits, changed, clock)
            broker = new_broker(settings.kafka, client_id="utilities-worker", apply_types=False, logger=None)
            watch = Watch(Limits(settings.most_unusable, settings.most_unusable_in_a_row))
            events = consuming.UtilityEvents(pool, publisher, topics, limits, changed, clock, watch=watch, digest=digest)
            consumers[:] = consuming.subscribe(broker, topics, events, consuming.CaseEvents(pool, changed), settings.batch_records)
            publishing = asyncio.create_task(snapshots.run())
            starting = asyncio.create_task(_start(pool, limits, broker, settings.kafka))
            looking = asyncio.create_task(observing.watch(pool))
            yield
            await tasks.end([starting])
            for consumer in consumers:
                await consumer.stop()
            await broker.stop()
            await tasks.end([publishing, looking])

    async def reachable() -> str | None:
        return await database(pool)

    async def reading() -> str | None:
        if not consumers:
            return "starting"
        halted = next((consumer.halted for consumer in consumers if consumer.halted), None)
        return halted or (None if all(consumer.ready for consumer in consumers) else "not consuming yet")

    async def told() -> str | None:
        if snapshots is None or publishing is None:
            return "starting"
        return "the publisher has ended: see the log" if publishing.done() else snapshots.wrong

    app = FastAPI(title="onething utilities worker", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    problems.install(app)
    headers.install(app)
    web.add_health(app, "utilities worker", {"postgres": reachable, "kafka": reading, "publisher": told})
    return app


async def _start(pool: postgres.Pool, limits: TimeLimits, broker: KafkaBroker, kafka: Bootstrap) -> None:
    """Brings the due dates up to date, then begins to read; tries again until the database and Kafka answer."""
    while True:
        try:
            await due.bring_up_to_date(pool, limits)
            break
        except postgres.Unavailable as error:
            log.warning("due_dates_wait", error=type(error).__name__, retry_in=RETRY_SECONDS)
        await asyncio.sleep(RETRY_SECONDS)
    await start_patiently(broker, kafka)
