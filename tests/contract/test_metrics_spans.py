"""Sums of counters over any span, against every day added up one by one."""

import random
from collections import Counter
from datetime import date, timedelta
from typing import Any

from services.metrics.domain.cases import MEASURES
from services.metrics.store import counters
from shared import postgres
from tests.conftest import TestDatabase

FIRST = date(2023, 11, 20)
DAYS = 190
ITEMS, COUNTIES = ("newborn", "disabled-service"), ("130607", "130608", "130681")


async def test_any_span_is_what_its_days_add_up_to(database: TestDatabase) -> None:
    chance = random.Random(51)
    stored = [
        (item, county, FIRST + timedelta(days=day), [chance.randrange(-1, 9) for _ in MEASURES])
        for item in ITEMS for county in COUNTIES for day in range(DAYS) if chance.random() < 0.6
    ]  # fmt: skip
    asked: Counter[str] = Counter()
    async with await postgres.open_pool(database.dsn("metrics"), application="test", size=1) as pool, pool.acquire() as db:
        places = ", ".join(f"${n}" for n in range(1, 4 + len(MEASURES)))
        await db.executemany(
            f"insert into counters (item, county, day, {', '.join(MEASURES)}) values ({places})",
            [(*cell, *n) for *cell, n in stored],
        )
        for _ in range(400):
            group = chance.choice(["county", "item", "day", "month"])
            item, county = chance.choice([None, *ITEMS]), chance.choice([None, *COUNTIES])
            days = sorted(FIRST + timedelta(days=chance.randrange(-40, DAYS + 40)) for _ in range(2))
            since, as_of = chance.choice([days[0], days[0].replace(day=1), None]), days[1]
            expected: dict[Any, list[int]] = {}
            for of, where, day, n in stored:
                if item in (None, of) and county in (None, where) and (since or FIRST) <= day <= as_of:
                    key = {"county": where, "item": of, "day": day, "month": day.replace(day=1)}[group]
                    expected[key] = [a + b for a, b in zip(expected.get(key, [0] * len(MEASURES)), n, strict=True)]
            found = await counters.sums(db, group=group, item=item, county=county, since=since, as_of=as_of)
            told = {row["key"]: [row[measure] for measure in MEASURES] for row in found}
            # Where nothing is left of a group it may have a row of zeros, or none.
            assert {key: n for key, n in told.items() if any(n)} == {key: n for key, n in expected.items() if any(n)}
            asked[f"{group} {since is None}"] += bool(told)
    assert len(asked) == 8
    assert min(asked.values()) > 10, "each kind of question was asked of something"
