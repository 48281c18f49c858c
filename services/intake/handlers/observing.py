"""What Prometheus is shown of the index: how fresh it is, and what is parked and waits for somebody."""

import asyncio
from typing import Final

import structlog

from services.intake.store import index, parked
from shared import meters
from shared.clock import Clock
from shared.postgres import Pool, Unavailable

log = structlog.get_logger()

LOOK_SECONDS: Final = 10.0


async def watch(pool: Pool, clock: Clock) -> None:
    """Looks again and again, until cancelled."""
    while True:
        try:
            async with pool.acquire() as db:
                up_to = await index.indexed_to(db)
                waiting = await parked.waiting(db)
        except Unavailable as error:
            log.info("parked_unknown", error=type(error).__name__)
        else:
            if up_to is not None:
                meters.INDEXED_TO_AGE.set(max(0.0, (clock() - up_to).total_seconds()))
            meters.PARKED_OPEN.clear()
            for service, reason, number in waiting:
                meters.PARKED_OPEN.labels(service, reason).set(number)
        await asyncio.sleep(LOOK_SECONDS)
