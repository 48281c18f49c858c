"""Joint installation: taking cases, and deriving what is told of each from what stands in the database."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import orjson

from services.utilities.domain.joint import Answer, derive, serving
from services.utilities.domain.joint_cases import CaseKey, JointCase, merge, subject_of, view
from services.utilities.domain.registers import Event, dump, loader
from services.utilities.domain.snapshots import next_version
from services.utilities.domain.wire import CaseData
from services.utilities.store import due, joint
from shared import offsets
from shared.events.progress import RegistryState
from shared.postgres import Connection, Pool, committing

DERIVED_AT_ONCE: Final = 200

_load = loader(CaseData)


@dataclass(frozen=True, slots=True)
class CaseBatch:
    """What one partition's records from ``expected`` on say of joint installations; ``following`` is the offset after them.

    ``events`` name that item, or none. ``elsewhere`` are records of other items, which matter where their case is known here:
    then the item was corrected.
    """

    topic: str
    partition: int
    expected: int
    following: int
    events: list[Event[CaseData]] = field(default_factory=list)
    elsewhere: dict[CaseKey, list[bytes]] = field(default_factory=dict)


async def of_known_cases(pool: Pool, keys: Sequence[CaseKey]) -> set[CaseKey]:
    """Those of ``keys`` of which anything is kept."""
    if not keys:
        return set()
    async with pool.acquire() as db:
        known = await joint.known_cases(db, [subject_of(*key) for key in keys])
    return {key for key in keys if subject_of(*key) in known}


async def take_cases(pool: Pool, batch: CaseBatch) -> int:
    """Merges the batch and moves the offset, in one transaction; returns how many cases changed.

    Raises:
        offsets.Fenced: another worker has taken these records; nothing was written.
    """
    groups: dict[str, list[Event[CaseData]]] = defaultdict(list)
    for event in batch.events:
        groups[subject_of(event.data.source, event.data.case_no)].append(event)
    async with pool.acquire() as db, committing(db):
        await offsets.advance(db, batch.topic, batch.partition, batch.expected, batch.following)
        if not groups:
            return 0
        known = await joint.lock_cases(db, groups)
        changed = []
        for subject, arrived in groups.items():
            old = _load(known[subject]) if subject in known else ()
            new = merge(old, arrived)
            if new != old:
                changed.append(joint.CaseRow(subject, arrived[0].data.case_no, dump(new)))
        if changed:
            await joint.put_cases(db, changed)
            await joint.mark_waiting(db, (row.case_no for row in changed))
        return len(changed)


async def derive_waiting(db: Connection, now: datetime) -> int:
    """Derives some of the joint installations that wait; returns how many case numbers.

    One session at a time does this (who holds the lock ``store.subjects.LOCK``). The marks are read before all else: whatever was
    committed with them is seen, and what is committed later marks again.
    """
    await _notice_registry(db)
    async with db.transaction():
        marks = await joint.waiting(db, DERIVED_AT_ONCE)
        if not marks:
            return 0
        numbers = list(marks)
        cases: dict[str, list[JointCase]] = defaultdict(list)
        for number, events in await joint.cases_of(db, numbers):
            if (case := view(_load(events))) is not None:
                cases[number].append(case)
        answers: dict[str, list[Answer]] = defaultdict(list)
        for number, subject, told in await joint.answers_of(db, numbers):
            answers[number].append(Answer(subject, orjson.loads(told)))
        registry = serving(RegistryState.model_validate_json(told) for told in await joint.registry_states(db))
        known = await joint.lock_joint(db, numbers)
        rows: list[joint.JointRow] = []
        for number in numbers:
            for subject, state in derive(cases[number], answers[number], registry).items():
                before = known.pop(subject, None)
                if before is None or before.deleted or before.state != state:
                    version = next_version(before.version if before is not None else 0, now)
                    rows.append(joint.JointRow(subject, number, state, False, version))
        # What stands and was not derived is gone: its case was deleted, or is of another item now.
        rows += [
            joint.JointRow(subject, before.state.get("case_no", ""), {}, True, next_version(before.version, now))
            for subject, before in known.items()
            if not before.deleted
        ]
        if rows:
            await joint.put_joint(db, rows)
        await joint.done(db, marks)
        return len(marks)


async def _notice_registry(db: Connection) -> None:
    """Has every joint installation derived anew when the registry changed: it says who serves which county."""
    async with db.transaction():
        version = str(await joint.registry_version(db))
        if await due.read_basis(db, "registry") != version:
            await joint.mark_all_waiting(db)
            await due.put_basis(db, "registry", version)
