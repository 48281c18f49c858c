"""Cases of joint installation, and which of them wait to be derived."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from services.utilities.store.subjects import Stored, lock_subjects
from shared.postgres import Connection


class CaseRow(NamedTuple):
    """A case as it is to be; ``events`` is JSON."""

    subject: str
    case_no: str
    events: str


async def known_cases(db: Connection, subjects: Collection[str]) -> set[str]:
    """Those of ``subjects`` of which anything is kept."""
    rows = await db.fetch("select subject from joint_cases where subject = any($1::text[])", list(subjects))
    return {row["subject"] for row in rows}


async def lock_cases(db: Connection, subjects: Collection[str]) -> dict[str, str]:
    """The winning events of those of ``subjects`` that are known, locked in key order until the transaction ends."""
    rows = await db.fetch(
        "select subject, events from joint_cases where subject = any($1::text[]) order by subject for update", list(subjects)
    )
    return {row["subject"]: row["events"] for row in rows}


async def put_cases(db: Connection, rows: Iterable[CaseRow]) -> None:
    """Inserts or replaces ``rows``."""
    ordered = sorted(rows)
    await db.execute(
        """
        insert into joint_cases (subject, case_no, events) select * from unnest($1::text[], $2::text[], $3::jsonb[])
        on conflict (subject) do update set events = excluded.events
        """,
        [row.subject for row in ordered], [row.case_no for row in ordered], [row.events for row in ordered],
    )  # fmt: skip


async def mark_waiting(db: Connection, case_nos: Iterable[str]) -> None:
    """Has the joint installations of these case numbers derived anew, soon. Rows are locked in key order."""
    await db.execute(
        """
        insert into joint_waiting (case_no) select * from unnest($1::text[])
        on conflict (case_no) do update set marked = joint_waiting.marked + 1
        """,
        sorted(set(case_nos)),
    )


async def mark_all_waiting(db: Connection) -> None:
    """Has every joint installation derived anew."""
    await db.execute(
        """
        insert into joint_waiting (case_no) select distinct case_no from joint_cases order by 1
        on conflict (case_no) do update set marked = joint_waiting.marked + 1
        """
    )


async def waiting(db: Connection, limit: int) -> dict[str, int]:
    """Case numbers that wait, with the mark by which :func:`done` knows whether they changed meanwhile."""
    rows = await db.fetch("select case_no, marked from joint_waiting order by case_no limit $1", limit)
    return {row["case_no"]: row["marked"] for row in rows}


async def done(db: Connection, marks: Mapping[str, int]) -> None:
    """These wait no longer, but for those that were marked again."""
    await db.execute(
        """
        with derived as materialized (
            select w.case_no
            from joint_waiting as w
            join unnest($1::text[], $2::bigint[]) as m (case_no, marked) on m.case_no = w.case_no and m.marked = w.marked
            order by w.case_no for update of w
        )
        delete from joint_waiting as w using derived where w.case_no = derived.case_no
        """,
        list(marks), list(marks.values()),
    )  # fmt: skip


async def cases_of(db: Connection, case_nos: Sequence[str]) -> list[tuple[str, str]]:
    """(case number, winning events) of each case that bears one of these numbers."""
    rows = await db.fetch("select case_no, events from joint_cases where case_no = any($1::text[]) order by subject", case_nos)
    return [(row["case_no"], row["events"]) for row in rows]


async def answers_of(db: Connection, case_nos: Sequence[str]) -> list[tuple[str, str, str]]:
    """(case number, subject, state) of each live installation that names one of these numbers."""
    rows = await db.fetch(
        "select case_no, subject, state from installations where case_no = any($1::text[]) and not deleted order by subject",
        case_nos,
    )
    return [(row["case_no"], row["subject"], row["state"]) for row in rows]


async def lock_joint(db: Connection, case_nos: Sequence[str]) -> dict[str, Stored]:
    """What is told of the joint installations of these numbers, locked in key order."""
    rows = await db.fetch("select subject from joint where case_no = any($1::text[])", case_nos)
    return await lock_subjects(db, "joint", [row["subject"] for row in rows])


class JointRow(NamedTuple):
    """What is to be told of a joint installation."""

    subject: str
    case_no: str
    state: dict[str, Any]
    deleted: bool
    version: int


async def put_joint(db: Connection, rows: Iterable[JointRow]) -> None:
    """Inserts or replaces what is told."""
    ordered = sorted(rows, key=lambda row: row.subject)
    await db.execute(
        """
        insert into joint (subject, case_no, state, deleted, version)
        select * from unnest($1::text[], $2::text[], $3::jsonb[], $4::boolean[], $5::bigint[])
        on conflict (subject) do update
        set state = excluded.state, deleted = excluded.deleted, version = excluded.version
        """,
        [row.subject for row in ordered], [row.case_no for row in ordered], [orjson.dumps(row.state).decode() for row in ordered],
        [row.deleted for row in ordered], [row.version for row in ordered],
    )  # fmt: skip


async def registry_states(db: Connection) -> list[str]:
    """The state of every pair of the registry that is or was, as JSON."""
    return [row["state"] for row in await db.fetch("select state from registry where not deleted order by subject")]


async def registry_version(db: Connection) -> int:
    """Rises with every change of the registry."""
    return int(await db.fetchval("select coalesce(max(version), 0) from registry"))
