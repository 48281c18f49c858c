"""The registry as the bureau keeps it: its pairs, and whom a company may ask at the bureau."""

from collections.abc import Mapping
from typing import Any

import orjson

from shared.postgres import Connection


async def states(db: Connection) -> list[dict[str, Any]]:
    """Every pair that stands, by subject."""
    rows = await db.fetch("select state from registry where not deleted order by subject")
    return [orjson.loads(row["state"]) for row in rows]


async def contacts(db: Connection) -> dict[str, tuple[str, str]]:
    """Office and telephone by subject."""
    return {row["subject"]: (row["office"], row["phone"]) for row in await db.fetch("select subject, office, phone from contacts")}


async def put_contacts(db: Connection, wanted: Mapping[str, tuple[str, str]]) -> None:
    """Makes the contacts what is ``wanted``. Call in a transaction."""
    await db.execute("delete from contacts where not subject = any($1::text[])", list(wanted))
    await db.execute(
        "insert into contacts (subject, office, phone) select * from unnest($1::text[], $2::text[], $3::text[])"
        " on conflict (subject) do update set office = excluded.office, phone = excluded.phone",
        list(wanted),
        [office for office, _ in wanted.values()],
        [phone for _, phone in wanted.values()],
    )
