"""Mending what is parked: corrected, replayed, and a replay rehearsed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from services.intake.domain.judging import Sender
from services.intake.domain.mending import Event, corrected, in_case_order, refuse_foreign, replayed
from services.intake.store import parked
from services.intake.store.parked import Kept
from shared import meters
from shared.clock import Clock
from shared.kafka import Message, Publisher, Topics
from shared.postgres import Connection
from shared.verdicts import Rejected

REPLAYED: Final = "replayed"

Senders = Callable[[], Mapping[str, Sender]]


class NoneSuch(LookupError):
    """No parked record has this id."""


class AlreadyReplayed(Exception):
    """What was replayed is published: a correction now is an event of its own, from its sender."""


class Outcome(NamedTuple):
    """What a replay of one record came to: ``replayed``, ``already-replayed``, ``unknown``, or ``refused`` with why.

    ``values`` are the events that it publishes.
    """

    id: str
    status: str
    rejected: Rejected | None = None
    values: Sequence[bytes] = ()


class Mender:
    """Corrects and replays. ``senders`` and ``publisher`` give what stands now."""

    def __init__(self, senders: Senders, publisher: Callable[[], Publisher], topics: Topics, clock: Clock) -> None:
        self._senders = senders
        self._publisher = publisher
        self._topic = topics.case_events
        self._clock = clock

    async def fix(self, db: Connection, parked_id: str, given: object, who: str) -> list[Event]:
        """Keeps a correction, judged as at the edge; returns the events that it made.

        Raises:
            NoneSuch: no such record.
            AlreadyReplayed: it is too late.
            Refusal: the correction is wrong, with pointers; or the record is not intake's to mend.
        """
        async with db.transaction():
            found = await parked.lock(db, [parked_id])
            if not found:
                raise NoneSuch
            if found[0].replayed_at is not None:
                raise AlreadyReplayed
            refuse_foreign(found[0].record, self._topic)
            events = corrected(found[0].record, given, self._senders(), self._clock())
            await parked.put_fix(db, parked_id, events)
            await parked.audit(db, who, "fix", {parked_id: _named(events)})
        return events

    async def replay(self, db: Connection, ids: Sequence[str], who: str) -> list[Outcome]:
        """Publishes what can be, in the order of each case, and marks it once it is durable.

        What was replayed before stays as it is. A crash between the two has events published again, which changes nothing.

        Raises:
            KafkaUnavailable: nothing is marked; try again.
        """
        async with db.transaction():
            outcomes = self._judged(ids, await parked.lock(db, ids))
            events = in_case_order(value for outcome in outcomes for value in outcome.values)
            await self._publisher().publish([Message(self._topic, key, value) for key, value in events])
            done = {outcome.id: _named(map(orjson.loads, outcome.values)) for outcome in outcomes if outcome.status == REPLAYED}
            await parked.mark_replayed(db, list(done), self._clock())
            await parked.audit(db, who, "replay", done)
        meters.REPLAYED.inc(len(done))
        return outcomes

    async def rehearse(self, db: Connection, ids: Sequence[str]) -> list[Outcome]:
        """What :meth:`replay` would answer. Nothing is written or published."""
        return self._judged(ids, await parked.some(db, ids))

    def _judged(self, ids: Sequence[str], found: Sequence[Kept]) -> list[Outcome]:
        known = {kept.record.id: kept for kept in found}
        senders, now = self._senders(), self._clock()
        return [self._outcome(parked_id, known.get(parked_id), senders, now) for parked_id in dict.fromkeys(ids)]

    def _outcome(self, parked_id: str, kept: Kept | None, senders: Mapping[str, Sender], now: datetime) -> Outcome:
        if kept is None:
            return Outcome(parked_id, "unknown")
        if kept.replayed_at is not None:
            return Outcome(parked_id, "already-replayed")
        values: list[bytes] = []
        for verdict in replayed(kept.record, kept.events, senders, self._topic, now):
            if isinstance(verdict, Rejected):
                return Outcome(parked_id, "refused", verdict)
            values.extend(verdict.values())
        return Outcome(parked_id, REPLAYED, None, values)


def _named(events: Iterable[Event]) -> dict[str, Any]:
    """What the audit keeps of events: enough to find them on the topic."""
    return {"events": [{"source": event["source"], "id": event["id"], "case_no": event["subject"]} for event in events]}
