"""What Prometheus is shown of the state: the snapshots that wait to be told."""

import asyncio
from typing import Final

import structlog

from services.utilities.store import subjects
from shared import meters
from shared.postgres import Pool, Unavailable

log = structlog.get_logger()

LOOK_SECONDS: Final = 10.0


async def watch(pool: Pool) -> None:
    """Looks again and again, until cancelled."""
    while True:
        try:
            async with pool.acquire() as db:
                for kind, number in (await subjects.waiting(db)).items():
                    meters.SNAPSHOTS_WAITING.labels(kind).set(number)
        except Unavailable as error:
            log.info("waiting_unknown", error=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)
