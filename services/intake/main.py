"""Composition root of the intake service: ``python -m services.intake.main api|worker|migrate``."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Final

import httpx
import structlog
from fastapi import FastAPI
from pydantic import ValidationError

from services.intake import kafka
from services.intake.domain import Sender
from services.intake.handlers import indexing, observing
from services.intake.handlers.mending import Mender
from services.intake.handlers.taking import Taking
from services.intake.http import audit, parked, push, status
from services.intake.http.access import Index
from services.intake.http.what_if import WhatIf
from services.intake.settings import SendersFileError, Settings, read_senders
from services.intake.store import index as store
from shared import correlation, headers, postgres, problems, tasks, telemetry, tracing, web
from shared.clock import Clock, now
from shared.kafka import PartitionConsumer, Publisher, Topics, new_broker, start_patiently
from shared.kafka.asyncapi import describe
from shared.parking import Digest, DigestKeyError
from shared.push import Edge, Peers, key_set
from shared.receipts import ReceiptKeyError, Receipts
from shared.reloading import Reloaded
from shared.signing.changes import changed_keys
from shared.unusable import Limits, Watch, option

log = structlog.get_logger()

WHAT_IF_SECONDS: Final = 30.0
MENDABLE: Final[tuple[type[Exception], ...]] = (ValueError, postgres.MigrationError, *postgres.Unavailable)
"""What the operator can mend: the message says enough without a traceback."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"
USAGE: Final = "usage: python -m services.intake.main api|worker [--most-unusable SHARE]|migrate"


def build_api(settings: Settings, clock: Clock = now) -> FastAPI:
    """The push edge. It starts without Kafka and answers 503 until Kafka answers.

    Raises:
        SendersFileError: the senders file cannot be used.
        ReceiptKeyError: the key of the receipts cannot be used.
    """
    senders = Reloaded(settings.senders_file, read_senders, SendersFileError, changed=_tell_keys)
    receipts = Receipts.of_file(settings.receipt_key_file)
    publisher = Publisher(settings.kafka, client_id="intake-api")
    topics = Topics(settings.topic_prefix)
    pool: postgres.Pool | None = None
    client: httpx.AsyncClient | None = None

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal pool, client
        async with (
            publisher,
            _index_pool(settings, "intake-api") as pool,
            httpx.AsyncClient(trust_env=False, timeout=WHAT_IF_SECONDS) as client,
        ):
            yield

    def metrics() -> WhatIf:
        assert client is not None, "requests come within the lifespan"
        return WhatIf(client, settings.metrics_url, settings.operator_token.get_secret_value())

    app = FastAPI(title="onething intake", version="1", lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None)
    problems.install(app)
    headers.install(app)
    peers = Peers(settings.trusted_proxies, settings.certificate_header)
    digest = Digest.of_file(settings.digest_key_file)
    edge = Edge("intake", receipts, clock, peers, settings.most_bytes_in_flight, digest)
    index = Index(lambda: pool, settings.operator_token.get_secret_value())
    pushing = push.routes(senders, lambda: publisher, topics, edge)
    app.include_router(pushing)
    web.answer_directly(app, pushing, push.PATH, "POST")
    app.include_router(status.routes(senders, index, topics, edge))
    app.include_router(parked.routes(index, Mender(senders, lambda: publisher, topics, clock), metrics))
    app.include_router(audit.routes(index))
    app.include_router(key_set(receipts))
    web.add_health(app, "intake api", {"kafka": publisher.trouble})
    correlation.correlate(app, "intake")

    @app.get("/asyncapi.json", tags=["contracts"])
    async def asyncapi() -> dict[str, object]:
        """What the worker reads and writes, as AsyncAPI 3."""
        return describe(
            "onething intake worker", settings.kafka, settings.topic_prefix,
            reads=["province-push", "case-events", "parked"], writes=["case-events", "parked"],
        )  # fmt: skip

    return app


def _tell_keys(before: Mapping[str, Sender], after: Mapping[str, Sender]) -> None:
    parties, now_parties = ({name: sender.party for name, sender in senders.items()} for senders in (before, after))
    for change in changed_keys(parties, now_parties):
        log.info("keys_changed", **change._asdict())


@contextlib.asynccontextmanager
async def _index_pool(settings: Settings, application: str, **session: str) -> AsyncIterator[postgres.Pool | None]:
    """The index's pool, which opens while the database is away; ``None`` where no database is configured."""
    dsn = settings.postgres_dsn.get_secret_value() if settings.postgres_dsn is not None else ""
    if not dsn:
        log.warning("no_index", what_to_do="set ONETHING_POSTGRES_DSN to have events and parked records indexed")
        yield None
        return
    async with await postgres.open_pool_unasked(dsn, application=application, size=settings.pool_size, **session) as pool:
        yield pool


def build_worker(settings: Settings, clock: Clock = now) -> FastAPI:
    """The worker: the consumer of ``province-push``, those of the index, and a small app that shows their health.

    Raises:
        SendersFileError: the senders file cannot be used.
    """
    topics = Topics(settings.topic_prefix)
    senders = Reloaded(settings.senders_file, read_senders, SendersFileError)
    publisher = Publisher(settings.kafka, client_id="intake-worker")
    consumers: list[PartitionConsumer] = []
    pool: postgres.Pool | None = None
    digest = Digest.of_file(settings.digest_key_file)
    limits = Limits(settings.most_unusable, settings.most_unusable_in_a_row)

    def known() -> Collection[Sender]:
        return senders().values()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal pool
        # Offset and rows commit together, so a crash that loses the last commits loses nothing: they are indexed again.
        session = {"synchronous_commit": "off", "idle_in_transaction_session_timeout": "5s"}
        async with publisher, _index_pool(settings, "intake-worker", **session) as pool:
            broker = new_broker(settings.kafka, client_id="intake-worker", apply_types=False, logger=None)
            needs = Taking(known, publisher, topics, clock, Watch(limits), digest)
            consumers.append(kafka.subscribe(broker, topics, kafka.ProvincePush(needs), settings.batch_records))
            background = [asyncio.create_task(start_patiently(broker, settings.kafka))]
            if pool is not None:
                indexes = kafka.subscribe_index(broker, topics, pool, known, settings.batch_records)
                consumers.extend(indexes)
                background.append(asyncio.create_task(indexing.note_for_ever(pool, lambda: kafka.ends(indexes), clock)))
                background.append(asyncio.create_task(observing.watch(pool, clock)))
            yield
            await tasks.end(background)
            for consumer in consumers:
                await consumer.stop()
            await broker.stop()

    def consuming(place: slice) -> web.Check:
        async def check() -> str | None:
            chosen = consumers[place]
            halted = [consumer.halted for consumer in chosen if consumer.halted]
            return (
                halted[0] if halted else None if all(consumer.ready for consumer in chosen) and consumers else "not consuming yet"
            )

        return check

    async def indexed() -> str | None:
        return "starting" if pool is None else await _database(pool)

    app = FastAPI(title="onething intake worker", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    problems.install(app)
    headers.install(app)
    checks = {"kafka": publisher.trouble, "province-push": consuming(slice(1))}
    if settings.postgres_dsn is not None and settings.postgres_dsn.get_secret_value():
        checks |= {"postgres": indexed, "index": consuming(slice(1, None))}
    web.add_health(app, "intake worker", checks)
    return app


async def _database(pool: postgres.Pool) -> str | None:
    try:
        async with asyncio.timeout(2), pool.acquire() as db:
            await store.answers(db)
    except postgres.Unavailable as error:
        return f"PostgreSQL does not answer: {type(error).__name__}"
    return None


async def migrate(settings: Settings) -> list[str]:
    """Makes schema and role, and runs the migrations that are new; returns their names.

    Raises:
        ValueError: a DSN is not set.
    """
    if settings.postgres_admin_dsn is None or settings.postgres_dsn is None:
        raise ValueError("set ONETHING_POSTGRES_ADMIN_DSN and ONETHING_POSTGRES_DSN: migrations run as the database's owner")
    return await postgres.migrate_service(
        settings.postgres_admin_dsn.get_secret_value(),
        settings.postgres_dsn.get_secret_value(),
        "intake",
        list(MIGRATIONS.glob("*.sql")),
    )


def main(arguments: list[str]) -> int:
    """Runs one process; returns its exit status."""
    try:
        arguments, share = option(arguments)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if len(arguments) != 1 or arguments[0] not in ("api", "worker", "migrate") or (share is not None and arguments != ["worker"]):
        sys.stderr.write(USAGE + "\n")
        return 2
    process = arguments[0]
    telemetry.configure("intake", process)
    try:
        settings = Settings() if share is None else Settings(most_unusable=share)
        if process == "migrate":
            log.info("migrated", ran=asyncio.run(migrate(settings)))
            return 0
        tracing.configure(settings, "intake", process)
        app = build_api(settings) if process == "api" else build_worker(settings)
    except ValidationError as error:
        wrong = ", ".join(f"ONETHING_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        sys.stderr.write(f"settings: {wrong}\n")
        return 2
    except SendersFileError as error:
        sys.stderr.write(f"senders: {error}\n")
        return 2
    except (ReceiptKeyError, DigestKeyError) as error:
        sys.stderr.write(f"keys: {error}\n")
        return 2
    except MENDABLE as error:
        sys.stderr.write(f"{process}: {type(error).__name__}: {error}\n")
        return 1
    web.serve(app, host=settings.host, port=settings.port)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
