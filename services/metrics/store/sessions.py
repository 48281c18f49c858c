"""Login links that were used and sessions that were ended: neither opens anything again, at any api process."""

from datetime import datetime

from shared.postgres import Connection


async def spend(db: Connection, ticket: str, until: datetime, now: datetime) -> bool:
    """Marks the ticket as spent; ``False`` when it was already. Those that would be over by themselves are forgotten."""
    await db.execute("delete from spent where until < $1", now)
    return await db.fetchval("insert into spent values ($1, $2) on conflict do nothing returning true", ticket, until) is True


async def is_spent(db: Connection, ticket: str) -> bool:
    """Whether it was marked so."""
    return bool(await db.fetchval("select exists (select from spent where ticket = $1)", ticket))
