"""What the companies' page keeps and shows: links, sessions, and a company's own state."""

from datetime import datetime
from typing import Any

import orjson

from shared.postgres import Connection


async def put_link(db: Connection, digest: bytes, company: str, expires_at: datetime, now: datetime) -> None:
    """Keeps a one-time link, and forgets all that has expired."""
    await db.execute("delete from page_links where expires_at <= $1", now)
    await db.execute("delete from page_sessions where expires_at <= $1", now)
    await db.execute("insert into page_links (token_digest, company, expires_at) values ($1, $2, $3)", digest, company, expires_at)


async def link_stands(db: Connection, digest: bytes, now: datetime) -> bool:
    """Whether the link can still be used."""
    return bool(await db.fetchval("select 1 from page_links where token_digest = $1 and expires_at > $2", digest, now))


async def use_link(db: Connection, digest: bytes, now: datetime) -> str | None:
    """The link's company; the link is gone then, for everybody."""
    company: str | None = await db.fetchval(
        "delete from page_links where token_digest = $1 and expires_at > $2 returning company", digest, now
    )
    return company


async def put_session(db: Connection, digest: bytes, company: str, expires_at: datetime) -> None:
    """Keeps a session."""
    await db.execute(
        "insert into page_sessions (token_digest, company, expires_at) values ($1, $2, $3)", digest, company, expires_at
    )


async def company_of(db: Connection, digest: bytes, now: datetime) -> str | None:
    """The company of a session that stands."""
    company: str | None = await db.fetchval(
        "select company from page_sessions where token_digest = $1 and expires_at > $2", digest, now
    )
    return company


async def end_session(db: Connection, digest: bytes) -> None:
    """Ends one session."""
    await db.execute("delete from page_sessions where token_digest = $1", digest)


async def lock_out(db: Connection, company: str) -> int:
    """Ends every session of the company and voids its links; returns how many there were."""
    ended = await db.execute("delete from page_sessions where company = $1", company)
    voided = await db.execute("delete from page_links where company = $1", company)
    return int(ended.rpartition(" ")[2]) + int(voided.rpartition(" ")[2])


async def registry_of(db: Connection, company: str) -> list[dict[str, Any]]:
    """The company's pairs, each with ``office`` and ``phone`` (``None`` where no contact is entered)."""
    rows = await db.fetch(
        "select state, office, phone from registry left join contacts using (subject)"
        " where company = $1 and not deleted order by county, service",
        company,
    )
    return [orjson.loads(row["state"]) | {"office": row["office"], "phone": row["phone"]} for row in rows]


async def presence_of(db: Connection, company: str) -> list[dict[str, Any]]:
    """The company's presence, as told."""
    return await _states(db, "select state from presence where company = $1 and not deleted order by subject", company)


async def windows_of(db: Connection, company: str, since: str) -> list[dict[str, Any]]:
    """What its windows handled, from the month ``since`` on."""
    return await _states(
        db,
        "select state from windows where company = $1 and not deleted and state ->> 'month' >= $2 order by subject",
        company,
        since,
    )


async def open_installations_of(db: Connection, company: str) -> list[dict[str, Any]]:
    """Its installations under way, what is due first first."""
    return await _states(
        db,
        "select state from installations where company = $1 and not deleted"
        " and (step is null or step not in ('connected', 'cancelled')) order by state ->> 'due_on' nulls last, subject",
        company,
    )


async def ended_installations_of(db: Connection, company: str, since: str) -> list[dict[str, Any]]:
    """Its installations that ended at or after the instant ``since`` (RFC 3339 in UTC)."""
    return await _states(
        db,
        "select state from installations where company = $1 and not deleted and step in ('connected', 'cancelled')"
        " and state -> 'steps' ->> step >= $2 order by subject",
        company,
        since,
    )


async def _states(db: Connection, query: str, *parameters: object) -> list[dict[str, Any]]:
    return [orjson.loads(row["state"]) for row in await db.fetch(query, *parameters)]
