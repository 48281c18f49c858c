"""Following what other services tell: the newest snapshot of each subject, and what counts of it as of any day."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from services.metrics.domain import matters as rules_of
from services.metrics.domain.matters import FOLLOWED, Matter
from services.metrics.domain.wire import Unreadable
from services.metrics.store import matters, snapshots
from shared.events.progress import Snapshot
from shared.postgres import Connection, Pool, Unavailable

log = structlog.get_logger()

PAUSE_SECONDS: Final = 2.0
RULES: Final = rules_of.rules()
MOST_AT_ONCE: Final = 2_000
"""A tenth of a second of reading states, while nothing else is counted."""


def counts_as(snapshot: Snapshot) -> Matter | None:
    """What counts of it; ``None`` for a kind that is not followed.

    Raises:
        Unreadable: the state has not the shape of its kind.
    """
    try:
        return rules_of.of_snapshot(snapshot)
    except ValueError as error:
        content = snapshot.model_dump(mode="json")
        raise Unreadable(f"no state of kind {snapshot.kind}: {type(error).__name__}", "/data/state", content) from None


async def keep(db: Connection, newest: Mapping[tuple[str, str], tuple[Snapshot, Matter | None]]) -> None:
    """Keeps each snapshot that is newer than the one that stands, with what counts of it."""
    await snapshots.keep_newest(db, {key: snapshot for key, (snapshot, _) in newest.items()})
    counting = {key: (snapshot.version, matter) for key, (snapshot, matter) in newest.items() if matter is not None}
    if counting:
        await matters.keep(db, counting, RULES)


async def derive_outdated(pool: Pool) -> int:
    """Derives anew what was kept before its kind was followed, or by other rules or another calendar; returns how many."""
    derived = 0
    for kind in sorted(FOLLOWED):
        after = ""
        while True:
            async with pool.acquire() as db, db.transaction():
                last, outdated = await matters.check(db, kind, RULES, after, MOST_AT_ONCE)
                if last is None:
                    break
                if outdated:
                    derived += await _derive(db, await matters.locked(db, kind, outdated))
            after = last
    return derived


async def _derive(db: Connection, found: Sequence[Snapshot]) -> int:
    derived: dict[tuple[str, str], tuple[int, Matter]] = {}
    for snapshot in found:
        try:
            matter = counts_as(snapshot)
        except Unreadable as error:
            log.error("snapshot_unreadable", kind=snapshot.kind, subject=snapshot.subject, error=str(error))
            matter = None
        derived[snapshot.kind, snapshot.subject] = snapshot.version, matter or Matter()
    await matters.keep(db, derived, RULES)
    return len(derived)


async def derive_until_done(pool: Pool) -> None:
    """Runs :func:`derive_outdated` to its end, however often the database is away meanwhile."""
    while True:
        try:
            if derived := await derive_outdated(pool):
                log.info("matters_derived", number=derived)
        except Unavailable as error:
            log.warning("matters_not_derived", error=type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return
