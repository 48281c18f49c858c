"""Composition root of the intake service: ``python -m services.intake.main api|worker|migrate``."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import structlog
from fastapi import FastAPI
from faststream.kafka import KafkaBroker
from pydantic import ValidationError

from services.intake import kafka
from services.intake.http import push
from services.intake.settings import SendersFileError, Settings, read_senders
from shared import postgres, problems, telemetry, web
from shared.clock import Clock, now
from shared.kafka import PartitionConsumer, Publisher, Topics, start_patiently
from shared.kafka.asyncapi import describe
from shared.push import Edge, Peers, key_set
from shared.receipts import ReceiptKeyError, Receipts
from shared.reloading import Reloaded

log = structlog.get_logger()

MENDABLE: Final[tuple[type[Exception], ...]] = (ValueError, postgres.MigrationError, *postgres.Unavailable)
"""What the operator can mend: the message says enough without a traceback."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"
USAGE: Final = "usage: python -m services.intake.main api|worker|migrate"


def build_api(settings: Settings, clock: Clock = now) -> FastAPI:
    """The push edge. It starts without Kafka and answers 503 until Kafka answers.

    Raises:
        SendersFileError: the senders file cannot be used.
        ReceiptKeyError: the key of the receipts cannot be used.
    """
    senders = Reloaded(settings.senders_file, read_senders, SendersFileError)
    receipts = Receipts.of_file(settings.receipt_key_file)
    publisher = Publisher(settings.kafka, client_id="intake-api")

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with publisher:
            yield

    app = FastAPI(title="onething intake", version="1", lifespan=lifespan)
    problems.install(app)
    peers = Peers(settings.trusted_proxies, settings.certificate_header)
    edge = Edge("intake", receipts, clock, peers, settings.most_bytes_in_flight)
    app.include_router(push.routes(senders, lambda: publisher, Topics(settings.topic_prefix), edge))
    app.include_router(key_set(receipts))
    web.add_health(app, {"kafka": lambda: _reachable(publisher, settings)})

    @app.get("/asyncapi.json", tags=["contracts"])
    async def asyncapi() -> dict[str, Any]:
        """What the worker reads and writes, as AsyncAPI 3."""
        return describe(
            "onething intake worker", settings.kafka, settings.topic_prefix, reads=["province-push"], writes=["case-events", "parked"]
        )  # fmt: skip

    return app


def build_worker(settings: Settings, clock: Clock = now) -> FastAPI:
    """The worker: the consumer of ``province-push``, and a small app that shows its health.

    Raises:
        SendersFileError: the senders file cannot be used.
    """
    topics = Topics(settings.topic_prefix)
    senders = Reloaded(settings.senders_file, read_senders, SendersFileError)
    publisher = Publisher(settings.kafka, client_id="intake-worker")
    consumer: PartitionConsumer | None = None

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal consumer
        async with publisher:
            broker = KafkaBroker(settings.kafka, client_id="intake-worker", apply_types=False, logger=None)
            handler = kafka.ProvincePush(lambda: senders().values(), publisher, topics, clock, settings.most_unusable)
            consumer = kafka.subscribe(broker, topics, handler, settings.batch_records)
            starting = asyncio.create_task(start_patiently(broker))
            yield
            starting.cancel()
            await asyncio.wait([starting])
            await consumer.stop()
            await broker.stop()

    async def consuming() -> str | None:
        if consumer is None:
            return "starting"
        return consumer.halted or (None if consumer.ready else "not consuming yet")

    app = FastAPI(title="onething intake worker", version="1", lifespan=lifespan)
    problems.install(app)
    web.add_health(app, {"kafka": lambda: _reachable(publisher, settings), "province-push": consuming})
    return app


async def _reachable(publisher: Publisher, settings: Settings) -> str | None:
    return None if await publisher.reachable() else f"Kafka does not answer at {settings.kafka}"


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
    if len(arguments) != 1 or arguments[0] not in ("api", "worker", "migrate"):
        sys.stderr.write(USAGE + "\n")
        return 2
    process = arguments[0]
    telemetry.configure("intake", process)
    try:
        settings = Settings()
        if process == "migrate":
            log.info("migrated", ran=asyncio.run(migrate(settings)))
            return 0
        app = build_api(settings) if process == "api" else build_worker(settings)
    except ValidationError as error:
        wrong = ", ".join(f"ONETHING_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        sys.stderr.write(f"settings: {wrong}\n")
        return 2
    except SendersFileError as error:
        sys.stderr.write(f"senders: {error}\n")
        return 2
    except ReceiptKeyError as error:
        sys.stderr.write(f"receipts: {error}\n")
        return 2
    except MENDABLE as error:
        sys.stderr.write(f"{process}: {type(error).__name__}: {error}\n")
        return 1
    web.serve(app, host=settings.host, port=settings.port)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
