"""Due dates in the database: asked for any day, derived anew by other limits, and told anew piece by piece."""

import os
import random
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from services.utilities.domain.judging import read
from services.utilities.domain.limits import TimeLimits
from services.utilities.handlers import due as deriving
from services.utilities.handlers import taking
from services.utilities.handlers.taking import Batch, OtherLimits
from services.utilities.store import due
from shared.events.progress import InstallationState
from shared.postgres import Pool
from tests import utilities_oracle as oracle
from tests.conftest import TestDatabase
from tests.utilities_support import LIMITS, PAIRS, pool_of, stored

NOW = datetime(2024, 9, 30, tzinfo=UTC)


async def _take(pool: Pool, events: list[oracle.Event], expected: int, limits: TimeLimits = LIMITS) -> int:
    batch = Batch("utility-events", 0, expected, expected + len(events))
    for event in events:
        batch.add(*read(orjson.dumps(event)))
    return await taking.take(pool, batch, limits, NOW)


async def test_who_is_overdue_on_any_day_is_asked_of_what_is_stored(database: TestDatabase) -> None:
    events = oracle.season(21, PAIRS, installations=120)
    expected = {key[1]: state for key, state in oracle.told(events).items() if key[0] == "installation" and state is not None}
    chance = random.Random(21)
    async with pool_of(database.dsn("utilities")) as pool:
        await deriving.bring_up_to_date(pool, LIMITS)
        half = len(events) // 2
        await _take(pool, events[:half], 0)
        await _take(pool, events[half:], half)
        async with pool.acquire() as db:
            for day in sorted(date(2024, 3, 1) + timedelta(days=n) for n in chance.sample(range(300), 25)):
                late = {subject for subject, state in expected.items() if oracle.is_overdue(state, str(day))}
                asked = await due.overdue(db, day)
                said = {one.subject for one in asked if InstallationState.model_validate(one.state).overdue_on(day)}
                assert said == late, day
                of_power = await due.overdue(db, day, county="130607", company="power-1")
                assert {one.subject for one in of_power} <= {one.subject for one in asked}
            assert late, "a day on which nobody is overdue proves nothing"


@pytest.mark.parametrize("piece_bytes", [deriving.PIECE_BYTES, 2000], ids=["in the worker", "by helpers"])
async def test_other_limits_derive_every_date_anew_and_tell_what_changed(
    piece_bytes: int, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deriving, "PIECE_BYTES", piece_bytes)
    events = oracle.season(22, PAIRS, installations=700)
    looser = LIMITS.configuration.model_copy(
        update={"limit": tuple(rule.model_copy(update={"working_days": 40}) for rule in LIMITS.configuration.limit)}
    )
    other = TimeLimits(looser)
    async with pool_of(database.dsn("utilities")) as pool:
        assert await deriving.bring_up_to_date(pool, LIMITS) is not None
        assert await deriving.bring_up_to_date(pool, LIMITS) is None, "nothing changed"
        await _take(pool, events, 0)
        before = await stored(database.admin_dsn)
        derived = await deriving.bring_up_to_date(pool, other)
        alive = [key for key, state in before.items() if key[0] == "installation" and state is not None]
        assert derived is not None
        assert derived.installations == len(alive)
        with pytest.raises(OtherLimits, match="start all workers with one configuration"):
            await _take(pool, events[:1], len(events))
        async with pool.acquire() as db:
            rows = await db.fetch("select subject, due_on from installations join due_dates using (id)")
            looked_at = 0
            while found := await deriving.retell(db, other, NOW):
                looked_at += found
            assert looked_at == len([key for key in before if key[0] == "installation"])
            assert await deriving.retell(db, other, NOW) == 0
            versions = dict(await db.fetch("select subject, version > $1 from installations", int(NOW.timestamp() * 1000)))
        after = await stored(database.admin_dsn)
        told = {row["subject"]: row["due_on"] for row in rows if row["due_on"] is not None}
        for kind, subject in alive:
            state = after[kind, subject]
            assert state is not None
            assert state.get("due_on") == (str(told[subject]) if subject in told else None)
            # What says the same as before keeps its version: nobody needs to be told.
            assert versions[subject] == (state != before[kind, subject])
        assert any(versions.values())
        assert not all(versions[subject] for _, subject in alive)
        # The first limits again: all is as it was.
        assert await deriving.bring_up_to_date(pool, LIMITS) is not None
        async with pool.acquire() as db:
            while await deriving.retell(db, LIMITS, NOW):
                pass
        assert await stored(database.admin_dsn) == before


def test_a_helper_ends_when_the_worker_that_it_helps_is_killed() -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None
        helper = int(worker.stdout.readline())
        os.kill(helper, 0)
        worker.kill()
        worker.wait()
        until = time.monotonic() + 10
        while _runs(helper):
            assert time.monotonic() < until, "the helper waits for ever for a worker that is no more"
            time.sleep(0.05)
    finally:
        worker.kill()
        worker.wait()


WORKER = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from services.utilities.handlers.due import be_helper
from tests.utilities_support import LIMITS

helpers = ProcessPoolExecutor(1, get_context("spawn"), be_helper, (LIMITS.configuration, LIMITS.calendar))
print(helpers.submit(os.getpid).result(), flush=True)
time.sleep(60)
"""


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
