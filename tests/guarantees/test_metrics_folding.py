"""Folding counter deltas goes on, however its sessions end: nobody else would do it, and what is told would stand still."""

import asyncio

import asyncpg
import pytest

from services.metrics import main
from shared import postgres, tasks
from tests.conftest import TestDatabase

ROUNDS = 150


async def test_folding_goes_on_whenever_its_sessions_are_ended(database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "FOLD_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(main, "FOLD_AT_LEAST_EVERY_SECONDS", 0.01)
    admin = await asyncpg.connect(database.admin_dsn)
    async with await postgres.open_pool(database.dsn("metrics"), application="folds", size=4) as pool:
        folding = [asyncio.create_task(main._fold_for_ever(pool, lambda: 0.0)) for _ in range(4)]
        for _ in range(ROUNDS):
            # At whatever moment this finds them: waiting, at work, or being handed back.
            await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'folds'")
            await asyncio.sleep(0.005)
        assert [task.exception() for task in folding if task.done()] == []
        await tasks.end(folding)
    await admin.close()
