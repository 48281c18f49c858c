"""What a province's sender may push, and what becomes of it: pure rules, no I/O."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from services.intake.domain import quick
from services.intake.domain.dialects import Dialect
from shared.events import case
from shared.events.case import CaseStep, Operation
from shared.events.envelope import Envelope, encode
from shared.signing import Party
from shared.verdicts import (
    MOST_AHEAD,
    NOT_ENTITLED,
    Accepted,
    Refusal,
    Rejected,
    Verdict,
    event_id_of,
    open_envelope,
    read_data,
    refuse_future,
    refuse_people,
    require,
)

SHOWN_FIELDS: Final = frozenset(CaseStep.model_fields)
"""The fields of ``data`` that an answer or a parked record may show."""

DROPPED_FIELDS: Final = frozenset({"applicant"})
"""Known fields that never leave intake (CONTRACT §2)."""

KNOWN_FIELDS: Final = SHOWN_FIELDS | DROPPED_FIELDS


@dataclass(frozen=True, slots=True)
class Sender:
    """A party that may push. ``source`` is the one CloudEvents source that its events bear; ``party`` is how it proves itself.

    ``items`` are the item codes that it may send, ``None`` all. ``dialect`` reads the rows that it may also send. What a
    ``sandbox`` sender pushes is judged and answered, and goes nowhere.
    """

    id: str
    source: str
    party: Party = field(default_factory=Party)
    items: frozenset[str] | None = None
    dialect: Dialect | None = None
    sandbox: bool = False


def judge(item: object, sender: Sender | None, now: datetime) -> Verdict:
    """The case event that ``item`` becomes on ``case-events``, or why it cannot be used. Never raises.

    ``sender`` is who pushed it, ``None`` where nobody's source is named. People's data is dropped by reading: what is
    published is made from the fields of :class:`CaseStep` alone.
    """
    return _judge(item, sender, now, quick.read(item))


def judge_exactly(item: object, sender: Sender | None, now: datetime) -> Verdict:
    """As :func:`judge`, at the cost of an event that cannot be read in the quick way. Tests hold the two equal."""
    return _judge(item, sender, now, None)


def _judge(item: object, sender: Sender | None, now: datetime, reading: tuple[quick.Event, Mapping[str, Any]] | None) -> Verdict:
    try:
        envelope, data = reading or open_envelope(item)
        require(sender is not None and envelope.source == sender.source, NOT_ENTITLED, "/source", "not this sender's own source")
        require(envelope.type == case.TYPE, "invalid", "/type", f"the type is {case.TYPE}")
        step = envelope.data if isinstance(envelope, quick.Event) else read_data(CaseStep, envelope, _said_by(data))
        require(step.item is None or _may_send(sender, step.item), NOT_ENTITLED, "/data/item", "not an item of this sender's")
        require(envelope.subject == step.case_no, "invalid", "/subject", "the subject is the case number, as in /data/case_no")
        refuse_people(step.recorded_at, ("/id", envelope.id), ("/subject", envelope.subject))
        if data.get("recorded_at") is None:
            require(step.recorded_at <= now + MOST_AHEAD, "future", "/time", "over 10 minutes ahead of our clock")
        refuse_future(step, now, "occurred_at", "recorded_at")
    except Refusal as refusal:
        return Rejected(event_id_of(item), refusal.reason, refusal.errors)
    return Accepted(envelope.id, step.case_no, _encoded(envelope, step), len(data.keys() - KNOWN_FIELDS))


def _encoded(envelope: Envelope | quick.Event, step: CaseStep | quick.Data) -> bytes:
    if isinstance(envelope, quick.Event):
        return envelope.encoded()
    assert isinstance(step, CaseStep), "an envelope read in the exact way has its step read so too"
    return encode(envelope, step)


def _may_send(sender: Sender | None, item: str) -> bool:
    return sender is not None and (sender.items is None or item in sender.items)


def _said_by(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """``data`` without what its operation ignores: a delete concerns the whole case, so no step and no outcome."""
    if data.get("operation") != Operation.DELETE:
        return data
    return {name: value for name, value in data.items() if name not in ("step", "outcome")}


def sender_of(item: object, senders: Collection[Sender]) -> Sender | None:
    """Whose source ``item`` names. Over Kafka nobody signs: who may write there is the broker's matter (SASL and ACL).

    A sandbox sender is nobody there: it may bear a real sender's source, and must not stand for it.
    """
    source = item.get("source") if isinstance(item, Mapping) else None
    return next((sender for sender in senders if sender.source == source and not sender.sandbox), None)
