"""Which totals are to be told: those that moved since they were noted, and after a takeover whatever was told otherwise."""

from datetime import UTC, datetime

from services.metrics.store import totals
from services.metrics.store.totals import Counter
from shared import postgres
from tests.conftest import TestDatabase

NOW = datetime(2024, 9, 30, tzinfo=UTC)
MOVE = "insert into counters values ('newborn', '130607', '2024-09-01', 3, 2, 0, 0, 0, 0, 0, 0, 1)"


async def test_what_moved_is_noted_once_and_what_another_told_after_a_takeover(database: TestDatabase) -> None:
    async with await postgres.open_pool(database.dsn("metrics"), application="test", size=1) as pool, pool.acquire() as db:

        async def noted() -> dict[tuple[str, ...], int]:
            found = await totals.note_changes(db, ["130607", "130608"], ["newborn"], NOW)
            return {tuple(one.counter): one.total for one in found}

        assert len(await noted()) == 2 * 9, "zeros of the roster are told too"
        await db.execute(MOVE)
        moved = {"handled": 3, "applied": 2, "online": 1}
        assert await noted() == {("130607", "newborn", measure): total for measure, total in moved.items()}
        assert await noted() == {}
        versions = {one.counter: one.version for one in await totals.unpublished(db, 100)}
        # As a release does that tells, and does not note as this one.
        await db.execute("update told_totals set total = 7, version = version + 1 where county = '130607' and measure = 'handled'")
        await totals.look_at_all(db)
        assert await noted() == {("130607", "newborn", "handled"): 3}
        handled = Counter("130607", "newborn", "handled")
        (again,) = [one for one in await totals.unpublished(db, 100) if one.counter == handled]
        assert again.version > versions[handled] + 1, "greater than what was told last"
