"""The registry: importing it, and knowing by it who is entitled."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import structlog

from services.utilities.domain.registry import Pair, Registry, subject_of
from services.utilities.domain.registry_file import Contact, RegistryFile, read_registry
from services.utilities.domain.snapshots import next_version
from services.utilities.store import registry as registry_store
from services.utilities.store import subjects as store
from shared import audit
from shared.events.progress import RegistryState
from shared.postgres import Pool, Unavailable

log = structlog.get_logger()

REGISTRY_SECONDS: Final = 1.0
"""How old the registry may be by which a push is judged: an import is seen after so long."""


class Change(NamedTuple):
    """What an import does to one pair: ``before`` is ``None`` for a new one, ``after`` for one that goes."""

    subject: str
    before: RegistryState | None
    after: RegistryState | None


@dataclass(frozen=True, slots=True)
class Import:
    """What an import of the registry changed, in pairs of company and service in a county.

    ``contacts`` counts the contacts that were changed; ``changes`` are the pairs', in order.
    """

    added: int
    changed: int
    removed: int
    unchanged: int
    contacts: int = field(default=0, compare=False)
    changes: tuple[Change, ...] = field(default=(), compare=False, repr=False)


async def import_registry(pool: Pool, content: bytes, now: datetime, *, dry_run: bool = False, who: str = audit.COMMAND) -> Import:
    """Makes the registry what the file says, whole: a pair that it does not name is removed. ``dry_run`` only tells; else ``who``
    is in the audit.

    A file without contacts leaves those that stand.

    Raises:
        RegistryErrors: the file cannot be taken; nothing was written.
    """
    file = read_registry(content)
    wanted = {subject_of(state.county, state.company, state.service): state for state in file.states}
    async with pool.acquire() as db, db.transaction():
        known = await store.lock_registry(db)
        standing = {subject: row.state for subject, row in known.items() if not row.deleted}
        changes = [
            Change(subject, _state(standing.get(subject)), wanted.get(subject))
            for subject in sorted(wanted.keys() | standing.keys())
            if (wanted[subject].model_dump(mode="json") if subject in wanted else None) != standing.get(subject)
        ]
        contacts = await registry_store.contacts(db)
        kept = {subject: contact for subject, contact in contacts.items() if subject in wanted}
        contacts_after: Mapping[str, tuple[str, str]] = file.contacts or kept
        if not dry_run:
            await store.put_subjects(db, "registry", [_row(change, known.get(change.subject), now) for change in changes])
            await registry_store.put_contacts(db, contacts_after)
        added = sum(change.before is None for change in changes)
        removed = sum(change.after is None for change in changes)
        changed = len(changes) - added - removed
        moved = sum(contacts.get(s) != contacts_after.get(s) for s in contacts.keys() | contacts_after.keys())
        if not dry_run:
            detail = {
                "added": added, "changed": changed, "removed": removed, "contacts": moved,
                "sha256": hashlib.sha256(content).hexdigest(),
            }  # fmt: skip
            await audit.write(db, at=now, role=audit.COMMAND, who=who, action="registry.import", subject="registry", detail=detail)
    return Import(added, changed, removed, len(wanted) - added - changed, moved, tuple(changes))


def _state(stored: dict[str, Any] | None) -> RegistryState | None:
    return RegistryState.model_validate(stored) if stored is not None else None


def _row(change: Change, before: store.Stored | None, now: datetime) -> store.Row:
    version = next_version(before.version if before is not None else 0, now)
    state = change.after.model_dump(mode="json") if change.after is not None else {}
    return store.Row(change.subject, "[]", state, change.after is None, version)


async def export_registry(pool: Pool, now: datetime, who: str) -> RegistryFile:
    """The registry that stands, with its contacts, to be carried out of here by ``who``; that is in the audit."""
    registry = await read_registered(pool)
    async with pool.acquire() as db:
        detail = {"pairs": len(registry.states)}
        await audit.write(db, at=now, role=audit.COMMAND, who=who, action="registry.export", subject="registry", detail=detail)
    return registry


async def read_registered(pool: Pool) -> RegistryFile:
    """The registry that stands, with its contacts, to be looked at."""
    async with pool.acquire() as db:
        states = [RegistryState.model_validate(state) for state in await registry_store.states(db)]
        contacts = await registry_store.contacts(db)
    return RegistryFile(tuple(states), {subject: Contact(*contact) for subject, contact in contacts.items()})


class RegistryUnknown(Exception):
    """The registry cannot be read or is empty, so nobody's entitlement can be judged. The fault is ours."""


class CurrentRegistry:
    """The registry by which pushes are judged: at most a second old, or as old as the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._held: Registry | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def get(self) -> Registry:
        """The registry now.

        Raises:
            RegistryUnknown: it was never read, or nobody is entered.
        """
        async with self._reading:
            if self._held is None or time.monotonic() - self._read_at > REGISTRY_SECONDS:
                await self._refresh()
        if self._held is None:
            raise RegistryUnknown("the registry cannot be read: see that the database answers")
        if not self._held.pairs:
            raise RegistryUnknown("the registry is empty: import it (import-registry FILE)")
        return self._held

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(2), self._pool.acquire() as db:
                self._held = Registry(frozenset(Pair(*pair) for pair in await store.pairs(db)))
        except Unavailable as error:
            log.warning("registry_not_read", error=type(error).__name__, held=self._held is not None)
        self._read_at = time.monotonic()
