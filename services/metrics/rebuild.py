"""The command ``rebuild``: from the cases, or everything from the log beside the live tables."""

import argparse
import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from services.metrics.handlers import checking, counting
from services.metrics.handlers.rebuilding import CannotRebuild, Edges, Progress, Rebuild
from services.metrics.kafka.counting import Parking
from services.metrics.settings import Settings
from services.metrics.store import rebuild as store
from shared import audit, postgres
from shared.clock import now
from shared.kafka import LogReader, Publisher, Topics
from shared.parking import Digest
from shared.unusable import Limits

log = structlog.get_logger()

TELL_SECONDS: Final = 1.0
LOCK_ATTEMPTS: Final = 20
"""Half a second each: the sessions of a rebuild that was killed end in that time."""


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's options. Raises SystemExit (2) when they are wrong, with the usage on standard error."""
    parser = argparse.ArgumentParser("python -m services.metrics.main rebuild", description=__doc__)
    parser.add_argument("--from", dest="source", choices=("cases", "log"), default="cases")
    parser.add_argument("--keep", action="store_true", help=f"leave the tables that were swapped out in {store.BEFORE}")
    parser.add_argument(
        "--accept-shorter-log", action="store_true", help="go on where the live tables know events that the log has not"
    )
    return parser.parse_args(arguments)


async def run(settings: Settings, chosen: argparse.Namespace, migrations: Sequence[Path]) -> dict[str, Any]:
    """Rebuilds as ``chosen`` says; returns what was done.

    Raises:
        CannotRebuild: nothing was changed; the message says what to do.
        ValueError: the administrator's DSN is not set.
    """
    dsn = settings.postgres_dsn.get_secret_value()
    if chosen.source == "cases":
        async with await postgres.open_pool(dsn, application="metrics-rebuild", size=1) as pool, pool.acquire() as db:
            return await checking.rebuild_from_cases(db, at=now(), role=audit.COMMAND, who=audit.whoever_runs_this())
    if settings.postgres_admin_dsn is None:
        raise ValueError("set ONETHING_POSTGRES_ADMIN_DSN: a rebuild from the log makes tables, as the database's owner")
    admin_dsn = settings.postgres_admin_dsn.get_secret_value()
    async with await postgres.open_pool(admin_dsn, application="metrics-rebuild", size=1) as pool, pool.acquire() as admin:
        done = await _from_log(settings, admin_dsn, admin, migrations, chosen)
    async with await postgres.open_pool(dsn, application="metrics-rebuild", size=1) as pool, pool.acquire() as db:
        who = audit.whoever_runs_this()
        await audit.write(db, at=now(), role=audit.COMMAND, who=who, action="log.rebuild", subject="metrics", detail=done)
    return done


async def _from_log(
    settings: Settings, admin_dsn: str, admin: postgres.Connection, migrations: Sequence[Path], chosen: argparse.Namespace
) -> dict[str, Any]:
    await _begin_alone(admin)
    if unknown := await store.unclassified(admin):
        raise CannotRebuild(f"say in store/rebuild.py whether these tables come from the log: {', '.join(unknown)}")
    begun = time.monotonic()
    await store.make_fresh(admin)
    try:
        await postgres.migrate(admin_dsn, store.FRESH, migrations)
        if not await store.migrated_alike(admin):
            raise CannotRebuild("the live tables have other migrations than this version: run `migrate`, then rebuild again")
        counted = await _count_and_swap(settings, admin, accept_shorter_log=chosen.accept_shorter_log)
    finally:
        # Gone after the swap; else it was in vain, and takes room.
        with contextlib.suppress(*postgres.Unavailable):
            await store.drop_fresh(admin)
    kept = chosen.keep or not await _dropped(admin)
    return {
        "from": "log",
        "offsets": counted,
        "seconds": round(time.monotonic() - begun, 1),
        "kept": store.BEFORE if kept else None,
    }


async def _begin_alone(admin: postgres.Connection) -> None:
    for _ in range(LOCK_ATTEMPTS):
        if await store.begins_alone(admin):
            return
        await asyncio.sleep(0.5)
    raise CannotRebuild("another rebuild is running: wait for its end")


async def _count_and_swap(settings: Settings, admin: postgres.Connection, *, accept_shorter_log: bool) -> int:
    topics = Topics(settings.topic_prefix)
    told_at = 0.0

    def tell(progress: Progress) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= TELL_SECONDS or progress.counted == progress.of:
            told_at = time.monotonic()
            log.info("rebuild_progress", **progress._asdict())

    pool = postgres.open_pool(
        settings.postgres_dsn.get_secret_value(),
        application="metrics-rebuild", size=settings.pool_size, search_path=store.FRESH, synchronous_commit="off",
    )  # fmt: skip
    async with (
        await pool as fresh,
        Publisher(settings.kafka, client_id="metrics-rebuild") as publisher,
        LogReader(settings.kafka, [topics.case_events, topics.progress], client_id="metrics-rebuild") as reader,
    ):
        parking = Parking(publisher, topics, Digest.of_file(settings.digest_key_file))
        takes = {topics.case_events: counting.count_batch, topics.progress: counting.keep_snapshots}
        edges = Edges(admin, fresh, reader, takes, parking.park)
        limits = Limits(settings.most_unusable, settings.most_unusable_in_a_row)
        return await Rebuild(
            edges, most=settings.batch_records, limits=limits, accept_shorter_log=accept_shorter_log, told=tell
        ).run()


async def _dropped(admin: postgres.Connection) -> bool:
    for _ in range(LOCK_ATTEMPTS):
        await asyncio.sleep(0.5)  # readers that began before the swap end meanwhile
        with contextlib.suppress(store.Busy):
            await store.drop_before(admin)
            return True
    log.warning("old_tables_left", what_to_do=f"drop schema {store.BEFORE} cascade, or leave it to the next rebuild")
    return False
