"""Composition root of the utilities service.

``python -m services.utilities.main api|worker|migrate|import-registry FILE|publish-again|rebuild``
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

import structlog
from fastapi import FastAPI
from pydantic import ValidationError

from services.utilities import rebuild, worker
from services.utilities.domain.registry import RegistryErrors
from services.utilities.handlers import registry as registries
from services.utilities.handlers import taking
from services.utilities.handlers.rebuilding import CannotRebuild
from services.utilities.http import audit as audit_routes
from services.utilities.http import page, push, sheets
from services.utilities.settings import Settings, read_companies
from services.utilities.store import subjects as store
from shared import audit, correlation, headers, postgres, problems, telemetry, tracing, web
from shared.clock import Clock, now
from shared.kafka import Publisher, Topics
from shared.kafka.asyncapi import describe
from shared.parking import Digest, DigestKeyError
from shared.push import Edge, Peers, key_set
from shared.receipts import Receipts
from shared.reloading import Reloaded
from shared.signing import Party
from shared.signing.changes import changed_keys
from shared.unusable import option

log = structlog.get_logger()

MIGRATIONS: Final = Path(__file__).parent / "migrations"
MENDABLE: Final[tuple[type[Exception], ...]] = (
    ValueError, CannotRebuild, DigestKeyError, postgres.MigrationError, *postgres.Unavailable,
)  # fmt: skip
"""What the operator can mend: the message says enough without a traceback."""

USAGE: Final = (
    "usage: python -m services.utilities.main api|worker [--most-unusable SHARE]|migrate|import-registry FILE|publish-again|rebuild"
)


async def _database(pool: postgres.Pool | None) -> str | None:
    if pool is None:
        return "starting"
    try:
        async with asyncio.timeout(2), pool.acquire() as db:
            await store.answers(db)
    except postgres.Unavailable as error:
        return f"PostgreSQL does not answer: {type(error).__name__}"
    return None


def _companies(settings: Settings) -> Callable[[], Mapping[str, Party]]:
    if settings.companies_file is None:
        return dict
    return Reloaded(settings.companies_file, read_companies, (OSError, ValueError), changed=_tell_keys)


def _tell_keys(before: Mapping[str, Party], after: Mapping[str, Party]) -> None:
    for change in changed_keys(before, after):
        log.info("keys_changed", **change._asdict())


def build_api(settings: Settings, clock: Clock = now) -> FastAPI:
    """What the companies reach: the push edge, sheets, their page.

    Raises:
        OSError, ValueError: the companies' file or the receipts' key cannot be used.
    """
    companies = _companies(settings)
    receipts = Receipts.of_file(settings.receipt_key_file)
    publisher = Publisher(settings.kafka, client_id="utilities-api")
    pool: postgres.Pool | None = None
    registry: registries.CurrentRegistry | None = None

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal pool, registry
        dsn = settings.postgres_dsn.get_secret_value()
        async with await postgres.open_pool(dsn, application="utilities-api", size=settings.pool_size) as pool, publisher:
            registry = registries.CurrentRegistry(pool)
            yield

    def current_pool() -> postgres.Pool:
        assert pool is not None, "requests come within the lifespan"
        return pool

    def current_registry() -> registries.CurrentRegistry:
        assert registry is not None, "requests come within the lifespan"
        return registry

    async def database() -> str | None:
        return await _database(pool)

    app = FastAPI(title="onething utilities", version="1", lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None)
    problems.install(app)
    headers.install(app, https=settings.page_url.startswith("https://"))
    peers = Peers(settings.trusted_proxies, settings.certificate_header)
    edge = Edge("utilities", receipts, clock, peers, settings.most_bytes_in_flight, Digest.of_file(settings.digest_key_file))
    topics = Topics(settings.topic_prefix)
    app.include_router(push.routes(companies, lambda: publisher, current_registry, topics, edge))
    app.include_router(sheets.routes(companies, lambda: publisher, current_pool, current_registry, topics, edge))
    secure = settings.page_url.startswith("https://")
    app.include_router(page.routes(lambda: publisher, current_pool, current_registry, topics, edge, secure=secure))
    app.include_router(audit_routes.routes(current_pool, settings.operator_token.get_secret_value()))
    app.include_router(key_set(receipts))
    web.add_health(app, "utilities api", {"postgres": database, "kafka": publisher.trouble})
    correlation.correlate(app, "utilities")

    @app.get("/asyncapi.json", tags=["contracts"])
    async def asyncapi() -> dict[str, object]:
        """What the worker reads and writes, as AsyncAPI 3."""
        return describe(
            "onething utilities worker", settings.kafka, settings.topic_prefix,
            reads=["utility-events", "case-events"], writes=["progress", "parked"],
        )  # fmt: skip

    return app


def build_worker(settings: Settings, clock: Clock = now) -> FastAPI:
    """The worker: consumers, publisher of snapshots, and a small app that shows their health.

    Raises:
        OSError, ValueError: the time limits cannot be used.
    """
    return worker.build_worker(settings, _database, clock)


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
        "utilities",
        list(MIGRATIONS.glob("*.sql")),
    )


async def import_registry(settings: Settings, content: bytes) -> registries.Import:
    """Makes the registry what the file says, CSV or XLSX.

    Raises:
        RegistryErrors: lines are wrong.
    """
    async with await postgres.open_pool(settings.postgres_dsn.get_secret_value(), application="utilities-import", size=1) as pool:
        return await registries.import_registry(pool, content, now(), who=audit.whoever_runs_this())


async def publish_again(settings: Settings) -> int:
    """Has the worker publish every snapshot again; returns how many."""
    async with await postgres.open_pool(settings.postgres_dsn.get_secret_value(), application="utilities-again", size=1) as pool:
        return await taking.publish_again(pool, now(), audit.whoever_runs_this())


def main(arguments: list[str]) -> int:
    """Runs one process or command; returns its exit status."""
    try:
        arguments, share = option(arguments)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    match arguments:
        case ["api" | "worker" | "migrate" | "publish-again"] | ["import-registry", _] | ["rebuild", *_]:
            process = arguments[0]
        case _:
            sys.stderr.write(USAGE + "\n")
            return 2
    telemetry.configure("utilities", process)
    try:
        settings = Settings() if share is None else Settings(most_unusable=share)
    except ValidationError as error:
        missing = ", ".join(f"ONETHING_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        sys.stderr.write(f"settings: {missing}\n")
        return 2
    try:
        return _run(process, arguments[1:], settings)
    except RegistryErrors as error:
        sys.stderr.write("the registry was not imported; mend these lines:\n" + "\n".join(error.errors) + "\n")
    except MENDABLE as error:
        sys.stderr.write(f"{process}: {type(error).__name__}: {error}\n")
    return 1


def _run(process: str, arguments: list[str], settings: Settings) -> int:
    match process:
        case "migrate":
            log.info("migrated", ran=asyncio.run(migrate(settings)))
        case "import-registry":
            done = asyncio.run(import_registry(settings, Path(arguments[0]).read_bytes()))
            told = {name: getattr(done, name) for name in ("added", "changed", "removed", "unchanged", "contacts")}
            log.info("registry_imported", **told)
        case "rebuild":
            log.info("rebuilt", **asyncio.run(rebuild.run(settings, rebuild.options(arguments))))
        case "publish-again":
            log.info("to_be_published_again", snapshots=asyncio.run(publish_again(settings)))
        case _:
            tracing.configure(settings, "utilities", process)
            app = build_api(settings) if process == "api" else build_worker(settings)
            web.serve(app, host=settings.host, port=settings.port)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
