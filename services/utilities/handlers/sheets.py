"""Taking a sheet: read and judged whole, remembered, and published as one event a row."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.utilities.domain.registry import Registry
from services.utilities.domain.sheets.checking import Draft, Issue, Judged, Line, draft, in_order, judge_lines
from services.utilities.domain.sheets.marking import marked
from services.utilities.domain.sheets.reading import read
from services.utilities.store import sheets as store
from shared import audit
from shared.kafka import Message, Publisher
from shared.postgres import Connection, Pool

AT_ONCE: Final = 1_000
"""Events published in one wait."""

MOST_AT_WORK: Final = 2
"""Sheets read at a time by one process; each is up to a second of computing, others wait."""

_turns = asyncio.Semaphore(MOST_AT_WORK)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sheet. ``issues`` refuse rows; ``notes`` tell of rows that were taken and changed nothing.

    ``taken`` counts distinct events, ``repeated`` those of them that had been sent before.
    """

    draft: Draft
    issues: tuple[Issue, ...]
    notes: tuple[Issue, ...] = ()
    taken: int = 0
    repeated: int = 0
    event_ids: tuple[str, ...] = ()

    @property
    def wrong_rows(self) -> int:
        return len({(issue.page, issue.row) for issue in self.issues})


async def take_sheet(
    pool: Pool, publisher: Publisher, topic: str, company: str, content: bytes, registry: Registry, now: datetime, *, partial: bool
) -> Outcome:
    """Takes the sheet, or none of it: where a row is wrong nothing is taken, unless ``partial`` asks for the valid rows.

    ``recorded_at`` is when a row was first seen, rising from row to row: so of rows that set the same thing the later
    wins, and a sheet sent again is the same events. It is kept before anything is published; an answer that was lost
    is made good by sending again.

    Raises:
        SheetRefused: the file cannot be taken as a whole.
        KafkaUnavailable: not known to be stored.
    """
    async with _turns:
        drafted = await asyncio.to_thread(lambda: draft(read(content), company))
        async with pool.acquire() as db, db.transaction():
            await store.lock_company(db, company)
            known = await store.first_seen(db, company, {line.digest for line in drafted.lines})
            recorded = _recorded(drafted.lines, known, now)
            judged = await asyncio.to_thread(judge_lines, drafted.lines, lambda line: recorded[line.digest], company, registry, now)
            issues = tuple(in_order([*drafted.issues, *judged.issues]))
            if (issues and not partial) or not judged.accepted:
                return Outcome(drafted, issues)
            once = {line.digest: line for line, _ in judged.accepted}
            fresh = [store.SheetRow(d, line.register, recorded[d]) for d, line in once.items() if d not in known]
            await store.remember(db, company, fresh)
            detail = {
                "events": len(once), "repeated": len(once) - len(fresh), "wrong_rows": len({(i.page, i.row) for i in issues}),
                "sha256": hashlib.sha256(content).hexdigest(),
            }  # fmt: skip
            await audit.write(db, at=now, role="company", who=company, action="sheet.upload", subject="sheet", detail=detail)
            notes = await _superseded(db, company, list(once.values()))
    await _publish(publisher, topic, judged)
    return Outcome(drafted, issues, tuple(notes), len(once), len(once) - len(fresh), tuple(line.event_id for line in once.values()))


async def mark_sheet(outcome: Outcome) -> bytes:
    """The sheet again, with what is wrong in it marked."""
    async with _turns:
        return await asyncio.to_thread(marked, outcome.draft.book, outcome.issues)


def _recorded(lines: Sequence[Line], known: dict[str, datetime], now: datetime) -> dict[str, datetime]:
    recorded: dict[str, datetime] = {}
    for place, line in enumerate(lines):
        recorded.setdefault(line.digest, known.get(line.digest) or now + timedelta(microseconds=place))
    return recorded


async def _superseded(db: Connection, company: str, lines: Sequence[Line]) -> list[Issue]:
    """Rows sent before, that another row has corrected since which does not stand in this sheet: they change nothing."""
    digests = {line.digest for line in lines}
    latest = await store.latest(db, company, {line.register for line in lines})
    return [
        Issue(
            line.page.layout.title, line.row.number, None, None,
            "这一行以前报过,后来又有更正,本次没有改变现状;如要改回来,请操作选“更正”,并在“说明”里写一句",
            "superseded",
        )
        for line in lines
        if latest[line.register] not in digests
    ]  # fmt: skip


async def _publish(publisher: Publisher, topic: str, judged: Judged) -> None:
    once = {event.event_id: event for _, event in judged.accepted}
    messages = [Message(topic, event.key, value) for event in once.values() for value in event.values()]
    for first in range(0, len(messages), AT_ONCE):
        await publisher.publish(messages[first : first + AT_ONCE])
