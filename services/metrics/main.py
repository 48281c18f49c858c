"""Composition root of the metrics service: ``python -m services.metrics.main api|worker|migrate|rebuild``."""

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import structlog
from aiokafka.errors import KafkaError
from fastapi import FastAPI
from pydantic import ValidationError

from services.metrics import rebuild
from services.metrics.asking import identity_of
from services.metrics.domain.readers import ReadersFileError
from services.metrics.handlers import changes, checking, counting, following, observing
from services.metrics.handlers.rebuilding import CannotRebuild
from services.metrics.handlers.streaming import Hub
from services.metrics.http import audit, cases, figures, halls, installations, notices, stream, what_if
from services.metrics.http import changes as changes_routes
from services.metrics.http import checking as checking_routes
from services.metrics.http.access import Access, answer_while_away
from services.metrics.http.page import further
from services.metrics.http.page import routes as page
from services.metrics.http.standing import StandingAnswers
from services.metrics.kafka import counting as kafka
from services.metrics.kafka.following import follow_for_ever
from services.metrics.kafka.totals import TotalsPublisher
from services.metrics.settings import Settings
from shared import correlation, headers, postgres, problems, tasks, telemetry, tracing, web
from shared.clock import Clock, now
from shared.kafka import KafkaUnavailable, PartitionConsumer, Publisher, Topics, new_broker, start_patiently
from shared.kafka.asyncapi import describe
from shared.kafka.follower import Follower
from shared.parking import Digest, DigestKeyError
from shared.unusable import Limits, MostlyUnusable, option

log = structlog.get_logger()

FOLD_EVERY_SECONDS = 0.25
"""How long folding rests at least."""
FOLD_WHEN_IN_TIME_SECONDS = 0.5
"""How long it rests at most while records are counted as they come."""
FOLD_AT_LEAST_EVERY_SECONDS = 30.0
"""How long it rests at most while a backlog is counted."""
WRITERS = 2
"""Connections of the api for the little that it writes: logins used and ended, notices frozen, counters set right."""
METADATA_MS = 10_000
"""How long a topic that was made anew may go unseen; the client's own default is five minutes."""
MOVED = "metrics_moved"
"""The channel on which the database tells that figures moved (``migrations/0008_tell_of_moves.sql``)."""
MIGRATIONS = Path(__file__).parent / "migrations"
USAGE = (
    "usage: python -m services.metrics.main api|worker [--most-unusable SHARE]|migrate"
    "|rebuild [--from cases|log] [--keep] [--accept-shorter-log]"
)
MENDABLE: tuple[type[Exception], ...] = (
    ValueError, CannotRebuild, ReadersFileError, MostlyUnusable, DigestKeyError, postgres.MigrationError, KafkaError,
    KafkaUnavailable, *postgres.Unavailable,
)  # fmt: skip
"""What the operator can mend: the message says enough without a traceback."""


async def _database(pool: postgres.Pool) -> str | None:
    try:
        async with asyncio.timeout(2), pool.acquire() as db:
            await db.fetchval("select count(*) from migrations")
    except postgres.Unavailable as error:
        return f"PostgreSQL does not answer: {type(error).__name__}"
    return None


def build_api(settings: Settings, clock: Clock = now) -> FastAPI:
    """The reading api. It needs the database alone: while Kafka is away nobody can follow, and figures are answered.

    Raises:
        ReadersFileError, ValueError: a file of readers, of a key or of a secret cannot be used.
    """
    pools: list[postgres.Pool] = []
    answers = StandingAnswers()
    hub = Hub(Topics(settings.topic_prefix).county_metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        dsn = settings.postgres_dsn.get_secret_value()
        async with contextlib.AsyncExitStack() as opened:
            if settings.postgres_reader_dsn is None:
                pools.append(await postgres.open_pool(dsn, application="metrics-api", size=settings.pool_size, stateless=True))
            else:
                reading = settings.postgres_reader_dsn.get_secret_value()
                pools.append(await postgres.open_pool(reading, application="metrics-api", size=settings.pool_size, stateless=True))
                pools.append(await postgres.open_pool_unasked(dsn, application="metrics-api-writes", size=WRITERS))
            for pool in pools:
                await opened.enter_async_context(pool)
            listening = asyncio.create_task(
                postgres.listen(dsn, MOVED, answers.moved, answers.listen, application="metrics-api-listens")
            )
            follower = Follower(settings.kafka, hub.topic, client_id="metrics-api")
            streaming = [asyncio.create_task(follow_for_ever(follower, hub)), asyncio.create_task(hub.go_round())]
            yield
            hub.stop()
            await tasks.end([listening, *streaming])
            pools.clear()

    async def database() -> str | None:
        return await _database(pools[0]) if pools else "starting"

    app = FastAPI(title="onething metrics", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    problems.install(app)
    secure = settings.page_url.startswith("https://")
    headers.install(app, https=secure)
    answer_while_away(app)
    app.state.access = Access(lambda: pools[0], lambda: pools[-1], clock, identity_of(settings), answers, secure=secure)
    app.state.hub = hub
    web.when_stopping(app, hub.stop)
    app.include_router(figures.router)
    app.include_router(halls.router)
    app.include_router(installations.router)
    app.include_router(notices.router)
    app.include_router(cases.router)
    app.include_router(changes_routes.router)
    app.include_router(checking_routes.router)
    app.include_router(audit.router)
    app.include_router(what_if.router)
    app.include_router(stream.router)
    app.include_router(page.router)
    app.include_router(further.router)
    web.add_health(app, "metrics api", {"postgres": database})
    correlation.correlate(app, "metrics")

    @app.get("/asyncapi.json", tags=["contracts"])
    async def asyncapi() -> dict[str, object]:
        """What the worker reads and writes, as AsyncAPI 3."""
        return describe(
            "onething metrics worker", settings.kafka, settings.topic_prefix,
            reads=["case-events", "progress"], writes=["parked", "county-metrics"],
        )  # fmt: skip

    return app


def build_worker(settings: Settings, clock: Clock = now) -> FastAPI:
    """The worker: consumers, the folder of counter deltas, and a small app that shows their health.

    Raises:
        DigestKeyError: the digests' key cannot be used.
    """
    topics = Topics(settings.topic_prefix)
    digest = Digest.of_file(settings.digest_key_file)
    limits = Limits(settings.most_unusable, settings.most_unusable_in_a_row)
    pools: list[postgres.Pool] = []
    consumers: list[PartitionConsumer] = []
    publishers: list[TotalsPublisher] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        dsn = settings.postgres_dsn.get_secret_value()
        # Offset and state commit together, so a crash that loses the last commits loses nothing: they are counted again.
        # A worker that hangs inside a transaction holds its partition's lock: the server ends it, so that an heir need not wait.
        async with (
            await postgres.open_pool(
                dsn,
                application="metrics-worker",
                size=settings.pool_size,
                stateless=True,
                synchronous_commit="off",
                idle_in_transaction_session_timeout="5s",
            ) as pool,
            # Nobody waits for a check: it takes one core, and leaves the others to those who do wait.
            await postgres.open_pool(dsn, application="metrics-check", size=1, max_parallel_workers_per_gather="0") as check_pool,
            await postgres.open_pool(dsn, application="metrics-publisher", size=1) as publisher_pool,
            Publisher(settings.kafka, client_id="metrics-worker") as publisher,
        ):
            pools.append(pool)
            broker = new_broker(
                settings.kafka, client_id="metrics-worker", apply_types=False, logger=None, metadata_max_age_ms=METADATA_MS
            )
            parking = kafka.Parking(publisher, topics, digest)
            group = settings.group or topics.group("metrics")
            consumers.extend(kafka.subscribe(broker, topics, pool, parking, limits, group, settings.batch_records))
            of_cases = consumers[0]  # whose batches are folded
            folding = asyncio.create_task(_fold_for_ever(pool, lambda: of_cases.late))
            watching = asyncio.create_task(checking.check_for_ever(check_pool, settings.consistency_seconds, clock))
            looking = asyncio.create_task(observing.watch_waiting(pool, clock))
            pruning = asyncio.create_task(changes.prune_for_ever(pool, clock))
            deriving = asyncio.create_task(following.derive_until_done(pool))
            moved = asyncio.Event()
            totals = TotalsPublisher(publisher_pool, publisher, topics, settings.kafka, moved)
            publishers.append(totals)
            listening = asyncio.create_task(
                postgres.listen(dsn, MOVED, moved.set, lambda _: moved.set(), application="metrics-worker-listens")
            )
            publishing = asyncio.create_task(totals.run())
            starting = asyncio.create_task(start_patiently(broker, settings.kafka))
            yield
            await tasks.end([starting])
            for consumer in consumers:
                await consumer.stop()
            await broker.stop()
            await tasks.end([folding, watching, looking, pruning, deriving, listening, publishing])
            await totals.close()

    async def database() -> str | None:
        return await _database(pools[0]) if pools else "starting"

    async def consuming() -> str | None:
        halted = [consumer.halted for consumer in consumers if consumer.halted]
        if halted:
            return halted[0]
        return None if consumers and all(consumer.ready for consumer in consumers) else "not consuming yet"

    async def told() -> str | None:
        return publishers[0].wrong if publishers else "starting"

    app = FastAPI(title="onething metrics worker", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    problems.install(app)
    headers.install(app)
    web.add_health(app, "metrics worker", {"postgres": database, "kafka": consuming, "publisher": told})
    return app


async def _fold_for_ever(pool: postgres.Pool, late: Callable[[], float]) -> None:
    while True:
        begun = time.monotonic()
        try:
            await counting.fold_counters(pool)
        except Exception as error:
            # Whatever it was: nobody else folds here, and the totals that are told would stand still for ever.
            log.warning("fold_failed", error=type(error).__name__, exc_info=not isinstance(error, postgres.Unavailable))
            begun = time.monotonic()
        # Folding rarely folds more at once, and each counter is written once for all: it takes a tenth of one session's time. But
        # figures need not wait for it longer than their records waited to be counted.
        longest = min(max(FOLD_WHEN_IN_TIME_SECONDS, late()), FOLD_AT_LEAST_EVERY_SECONDS)
        await asyncio.sleep(min(max(FOLD_EVERY_SECONDS, 9 * (time.monotonic() - begun)), longest))


async def migrate(settings: Settings) -> list[str]:
    """Makes schema and role, and runs the migrations that are new; returns their names.

    Raises:
        ValueError: the administrator's DSN is not set.
    """
    if settings.postgres_admin_dsn is None:
        raise ValueError("set ONETHING_POSTGRES_ADMIN_DSN: migrations run as the database's owner")
    return await postgres.migrate_service(
        settings.postgres_admin_dsn.get_secret_value(),
        settings.postgres_dsn.get_secret_value(),
        "metrics",
        list(MIGRATIONS.glob("*.sql")),
        None if settings.postgres_reader_dsn is None else settings.postgres_reader_dsn.get_secret_value(),
    )


def main(arguments: list[str]) -> int:
    """Runs one process; returns its exit status."""
    chosen = None
    try:
        arguments, share = option(arguments)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    match arguments:
        case ["api" | "worker" | "migrate" as process]:
            pass
        case ["rebuild" as process, *rest]:
            chosen = rebuild.options(rest)
        case _:
            sys.stderr.write(USAGE + "\n")
            return 2
    telemetry.configure("metrics", process)
    try:
        settings = Settings() if share is None else Settings(most_unusable=share)
    except ValidationError as error:
        missing = ", ".join(f"ONETHING_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        sys.stderr.write(f"settings: {missing}\n")
        return 2
    try:
        if process == "migrate":
            log.info("migrated", ran=asyncio.run(migrate(settings)))
            return 0
        if chosen is not None:
            log.info("rebuilt", **asyncio.run(rebuild.run(settings, chosen, list(MIGRATIONS.glob("*.sql")))))
            return 0
        tracing.configure(settings, "metrics", process)
        app = build_api(settings) if process == "api" else build_worker(settings)
    except MENDABLE as error:
        sys.stderr.write(f"{process}: {type(error).__name__}: {error}\n")
        return 1
    if process == "worker":
        # A batch makes tens of thousands of small tuples that live for a moment and never form cycles; at the usual
        # threshold the collector looks at them again and again, for a third of the worker's time.
        gc.set_threshold(100_000, 10, 5)
    web.serve(app, host=settings.host, port=settings.port)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
