"""What Prometheus is shown of the state: units at zero, installations that are late, what waits to be told."""

import asyncio
from datetime import date
from typing import Final

import structlog

from services.metrics.domain.days_without import days_without
from services.metrics.handlers import installations
from services.metrics.store import counters, heard, totals
from shared import counties, items, meters
from shared.clock import Clock
from shared.postgres import Connection, Pool, Unavailable

log = structlog.get_logger()

LOOK_SECONDS: Final = 10.0
"""How often it is looked at what waits."""

OPEN_STATES: Final = ("in_progress", "due_soon", "overdue")


async def observe(db: Connection, today: date) -> None:
    """Shows for how long each unit has been at zero, and how many installations are open, due soon and overdue."""
    idle = days_without(await counters.handled_days(db, today), counties.BY_CODE, today)
    late = (await installations.figures(db, as_of=today, county=None, service=None))["by_service"]
    forget()  # without a pause up to the end: a scrape sees all of it or all of the former
    for (item, county), days in idle.items():
        name = items.BY_CODE[item].name if item in items.BY_CODE else item
        meters.DAYS_WITHOUT.labels(item, name, county, counties.BY_CODE[county].name).set(days)
    for row in late:
        for state in OPEN_STATES:
            meters.INSTALLATIONS.labels(row["service"], state).set(row[state])


def forget() -> None:
    """Shows nothing of it: another worker does, or nobody."""
    meters.DAYS_WITHOUT.clear()
    meters.INSTALLATIONS.clear()


async def watch_waiting(pool: Pool, clock: Clock) -> None:
    """Shows, again and again until cancelled, what is counted and not yet folded, what is folded and not yet told,
    and how fresh each source is."""
    while True:
        try:
            async with pool.acquire() as db:
                meters.DELTAS_WAITING.set(await counters.waiting(db))
                for source, recorded, counted in await heard.sources(db):
                    meters.SOURCE_RECORDED.labels(source).set(recorded / 1e6)
                    meters.SOURCE_HEARD.labels(source).set(counted.timestamp())
                number, since = await totals.waiting(db)
                meters.TOTALS_WAITING.set(number)
                meters.TOTALS_DELAY.set(max(0.0, (clock() - since).total_seconds()) if since is not None else 0.0)
        except Unavailable as error:
            log.info("waiting_unknown", error=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)
