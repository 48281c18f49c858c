"""Due dates derived anew: all at once where the limits or the calendar changed, then told anew piece by piece."""

import asyncio
import gc
import signal
import time
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import cpu_count, get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Final, NamedTuple

import structlog

from services.utilities.domain.kinds import kept_installations
from services.utilities.domain.limits import Configuration, TimeLimits
from services.utilities.domain.registers import dump
from services.utilities.domain.snapshots import next_version
from services.utilities.handlers.taking import Changed, put
from services.utilities.store import due
from services.utilities.store import subjects as store
from shared.postgres import Connection, Pool
from shared.workdays import Calendar

log = structlog.get_logger()

HELPERS: Final = min(4, cpu_count())
"""Processes that derive: the rules are the work, and a Python process runs them on one core."""

PIECE_BYTES: Final = 1 << 20
"""What is given to a helper at once: some 15,000 installations."""

AHEAD: Final = 32
"""Pieces that are given out and not yet written: bounds the memory, and is work while the old rows are deleted."""

_Piece = tuple[int, bytes]
"""How many installations were looked at, and the lines of those that have due dates."""

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
    pieces: asyncio.Queue[Awaitable[_Piece] | None] = asyncio.Queue(AHEAD)
    loop = asyncio.get_running_loop()
    gathered = bytearray()
    count = 0
    # None is started before there is more than one piece: a small table is derived here.
    helpers = ProcessPoolExecutor(HELPERS, get_context("spawn"), be_helper, (limits.configuration, limits.calendar))

    async def gather(data: bytes) -> None:
        gathered.extend(data)
        if len(gathered) >= PIECE_BYTES:
            lines, _, rest = gathered.rpartition(b"\n")
            gathered[:] = rest
            await pieces.put(loop.run_in_executor(helpers, _derive_by_helper, bytes(lines)))

    async def read() -> None:
        async with pool.acquire() as reader:
            await due.timings(reader, gather)
        last: asyncio.Future[_Piece] = loop.create_future()
        last.set_result(_derive(limits, bytes(gathered)))
        await pieces.put(last)
        await pieces.put(None)

    async def written() -> AsyncIterator[bytes]:
        nonlocal count
        while (piece := await pieces.get()) is not None:
            derived, lines = await piece
            count += derived
            yield lines

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(due.replace_all(db, written()))
    except* Exception as errors:
        raise errors.exceptions[0] from None
    finally:
        await asyncio.to_thread(helpers.shutdown, cancel_futures=True)
    return count


def _derive(limits: TimeLimits, timings: bytes) -> _Piece:
    """Whole lines of what due dates follow from, into lines of due dates."""
    count = 0
    found = []
    for number, timing in due.load_timings(timings):
        count += 1
        if (line := due.due_line(number, limits.due_steps(timing))) is not None:
            found.append(line)
    return count, "".join(found).encode()


_helpers_limits: TimeLimits
"""Of a helper process, set once when it begins."""


def be_helper(configuration: Configuration, calendar: Calendar) -> None:
    """A process begins to be one of those that derive; it ends with the process that started it."""
    global _helpers_limits
    _helpers_limits = TimeLimits(configuration, calendar)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker is asked to stop, and ends its helpers
    # Lists by the thousand, none in a cycle: the collector would look at all of them again and again, for a third of the time.
    gc.disable()
    if (worker := parent_process()) is not None:
        Thread(target=_end_after, args=(worker,), daemon=True).start()


def _end_after(worker: BaseProcess) -> None:
    """A worker that was killed could not end its helpers, which would wait for it for ever."""
    worker.join()
    signal.raise_signal(signal.SIGKILL)


def _derive_by_helper(timings: bytes) -> _Piece:
    return _derive(_helpers_limits, timings)


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
