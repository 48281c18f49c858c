"""Which rows of sheets a company has sent, and when each was first seen."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from shared.postgres import Connection


class SheetRow(NamedTuple):
    """A row by the digest of what it says; ``register`` is the one thing that it sets."""

    digest: str
    register: str
    recorded_at: datetime


async def lock_company(db: Connection, company: str) -> None:
    """One sheet of a company at a time, until the transaction ends."""
    await db.execute("select pg_advisory_xact_lock(hashtext('sheets of ' || $1))", company)


async def first_seen(db: Connection, company: str, digests: Collection[str]) -> dict[str, datetime]:
    """When each of ``digests`` that is known was first seen."""
    rows = await db.fetch(
        "select digest, recorded_at from sheet_rows where company = $1 and digest = any($2::text[])", company, list(digests)
    )
    return {row["digest"]: row["recorded_at"] for row in rows}


async def latest(db: Connection, company: str, registers: Collection[str]) -> dict[str, str]:
    """The digest of the row that set each of ``registers`` last."""
    rows = await db.fetch(
        "select distinct on (register) register, digest from sheet_rows where company = $1 and register = any($2::text[])"
        " order by register, recorded_at desc, digest desc",
        company,
        list(registers),
    )
    return {row["register"]: row["digest"] for row in rows}


async def remember(db: Connection, company: str, rows: Iterable[SheetRow]) -> None:
    """Keeps rows that are new."""
    rows = list(rows)
    await db.execute(
        "insert into sheet_rows (company, digest, register, recorded_at)"
        " select $1, * from unnest($2::text[], $3::text[], $4::timestamptz[])",
        company,
        [row.digest for row in rows],
        [row.register for row in rows],
        [row.recorded_at for row in rows],
    )
