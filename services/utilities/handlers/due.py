"""Due dates derived anew: all at once where the limits or the calendar changed, then told anew piece by piece."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final, NamedTuple

import structlog

from services.utilities.domain.kinds import kept_installations
from services.utilities.domain.limits import TimeLimits
from services.utilities.domain.registers import dump
from services.utilities.domain.snapshots import next_version
from services.utilities.handlers.taking import Changed, put
from services.utilities.store import due
from services.utilities.store import subjects as store
from shared.postgres import Connection, Pool

log = structlog.get_logger()

AHEAD: Final = 64
"""Pieces that are derived and not yet written: bounds the memory."""

RETOLD_AT_ONCE: Final = 500


class Derived(NamedTuple):
    """How many installations were looked at, and in what time."""

    installations: int
    seconds: float


async def bring_up_to_date(pool: Pool, limits: TimeLimits) -> Derived | None:
    """Derives every due date by ``limits`` where they were derived by others, in one transaction; ``None`` where they were not.

    Nobody writes installations meanwhile. What is told of them is told anew afterwards (:func:`retell`).
    """
    begun = time.monotonic()
    async with pool.acquire() as db, db.transaction():
        if await due.read_basis(db, "limits") == limits.digest:
            return None
        await due.fence_installations(db)
        if await due.read_basis(db, "limits") == limits.digest:
            return None
        count = await _derive_all(pool, db, limits)
        await due.put_basis(db, "limits", limits.digest)
        await due.put_basis(db, "retelling", "")
    derived = Derived(count, round(time.monotonic() - begun, 2))
    log.info("due_dates_derived", installations=derived.installations, seconds=derived.seconds, limits=limits.digest)
    return derived


async def _derive_all(pool: Pool, db: Connection, limits: TimeLimits) -> int:
    """One session reads what due dates follow from, the other writes them; the rules run between the two."""
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)
    rest = b""
    count = 0

    async def derive(data: bytes) -> None:
        nonlocal rest, count
        lines, ended, rest = (rest + data).rpartition(b"\n")
        if not ended:
            return
        found = []
        # COPY doubles backslashes; a timing holds none.
        for number, timing in due.load_timings(lines):
            count += 1
            if (line := due.due_line(number, limits.due_steps(timing))) is not None:
                found.append(line)
        if found:
            await pieces.put("".join(found).encode())

    async def read() -> None:
        async with pool.acquire() as reader:
            await due.timings(reader, derive)
        await pieces.put(None)

    async def written() -> AsyncIterator[bytes]:
        while (piece := await pieces.get()) is not None:
            yield piece

    # Lists by the thousand, none in a cycle: the collector would look at all of them again and again, for a third of the time.
    collected = gc.get_threshold()
    gc.set_threshold(200_000, 10, 10)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(due.replace_all(db, written()))
    except* Exception as errors:
        raise errors.exceptions[0] from None
    finally:
        gc.set_threshold(*collected)
    return count


async def retell(db: Connection, limits: TimeLimits, now: datetime) -> int:
    """Tells some installations anew by ``limits``, those that change by them; returns how many were looked at, 0 at the end.

    How far it has come is stored, so that another worker goes on.
    """
    async with db.transaction():
        after = await due.read_basis(db, "retelling")
        if after is None or await due.read_basis(db, "limits") != limits.digest:
            return 0
        subjects = await due.next_subjects(db, after, RETOLD_AT_ONCE)
        if not subjects:
            await due.drop_basis(db, ["retelling"])
            return 0
        kept = kept_installations(limits)
        changed: list[Changed] = []
        for subject, before in (await store.lock_subjects(db, "installation", subjects)).items():
            state = kept.load(before.events)
            if not state:
                continue  # a rebuild is under way, and has not come to it yet
            told = kept.tell(state)
            timing = due.dump_timing(told.due.timing) if told.due is not None else None
            # What was stored before there were limits has no timing yet, though what is told be the same.
            row = store.Row(subject, dump(state), told.state, told.deleted, next_version(before.version, now), timing)
            if told.state != before.state:
                changed.append(Changed(before, row, told.due.steps if told.due is not None else []))
        await put(db, kept, changed)
        await due.put_basis(db, "retelling", subjects[-1])
        return len(subjects)
