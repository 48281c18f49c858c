"""The api reads ``county-metrics`` back: by a consumer without a group, so that each process has it all."""

import asyncio
from typing import Final

import structlog

from services.metrics.handlers.streaming import Hub, Life
from shared.kafka.follower import Away, Follower

log = structlog.get_logger()

RETRY_SECONDS: Final = 1.0


async def follow_for_ever(follower: Follower, hub: Hub) -> None:
    """Fills ``hub`` until cancelled. While Kafka is away ``hub`` says so, and keeps what it has."""
    try:
        while True:
            try:
                await _follow(follower, hub)
            except Away as error:
                if hub.away is None:
                    log.warning("county_metrics_away", error=type(error).__name__)
                hub.away = f"county-metrics cannot be read now: {type(error).__name__}"
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        await follower.close()


async def _follow(follower: Follower, hub: Hub) -> None:
    while True:
        records = await follower.read()
        life = Life(str(follower.life.topic_id) if follower.life.topic_id else None, follower.begins, follower.life.number)
        if life.number != hub.life.number:
            hub.begin(life)
        for record in records:
            hub.put(record.offset, record.key or b"", record.value)
        if hub.away is not None and not await follower.behind():
            hub.ready()
            log.info("county_metrics_followed", counters=len(hub.feed), next_offset=hub.feed.next_offset)
