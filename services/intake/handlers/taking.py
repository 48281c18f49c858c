"""The way of records of ``province-push``: judged, published or parked."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import orjson

from services.intake.domain import SHOWN_FIELDS, Sender, judge, mostly_unusable, sender_of
from services.intake.handlers import SERVICE
from shared.clock import Clock
from shared.kafka import Message, Publisher, Topics
from shared.parking import parked_event
from shared.push import EVENTS, IGNORED_FIELDS
from shared.verdicts import MALFORMED, Accepted, FieldError, Rejected, Verdict


class RawRecord(NamedTuple):
    """A record as it arrived. ``origin`` is ``topic/partition/offset``: a record parked twice has one origin."""

    origin: str
    value: bytes


class MostlyUnusable(Exception):
    """So many records of a batch are unusable that parking them would hide a fault; the message says what to do."""


async def take(
    records: Sequence[RawRecord],
    senders: Collection[Sender],
    publisher: Publisher,
    topics: Topics,
    clock: Clock,
    most_unusable: float,
) -> None:
    """Publishes what is accepted and parks what is not; returns when all of it is durable.

    Raises:
        MostlyUnusable: nothing was published.
        KafkaUnavailable: it is not known how much was stored; taking the same records again is harmless.
    """
    now = clock()
    messages: list[Message] = []
    accepted = ignored = 0
    for record in records:
        item = _parsed(record.value)
        sender = sender_of(item, senders)
        verdict: Verdict = _NOT_JSON if item is _BROKEN else judge(item, sender, now)
        if isinstance(verdict, Accepted):
            messages.append(Message(topics.case_events, verdict.key, verdict.value))
            accepted += 1
            ignored += verdict.ignored
            continue
        parked = parked_event(
            service=SERVICE, origin=record.origin, verdict=verdict, raw=record.value, item=item,
            fields=SHOWN_FIELDS, sender=sender.id if sender else None, at=now,
        )  # fmt: skip
        messages.append(Message(topics.parked, record.origin, parked))
    rejected = len(records) - accepted
    if mostly_unusable(rejected, len(records), most_unusable):
        raise MostlyUnusable(
            f"{rejected} of {len(records)} records are unusable: find out what writes them. To have them parked and go on,"
            " start again with ONETHING_MOST_UNUSABLE=1"
        )
    await publisher.publish(messages)
    EVENTS.labels(SERVICE, "accepted").inc(accepted)
    EVENTS.labels(SERVICE, "rejected").inc(rejected)
    IGNORED_FIELDS.labels(SERVICE).inc(ignored)


_BROKEN = object()
_NOT_JSON = Rejected(None, MALFORMED, (FieldError(pointer="", message="the record's value is not JSON in UTF-8"),))


def _parsed(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return _BROKEN
