"""The way of records of ``province-push``: judged, published or parked."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from services.intake.domain import SHOWN_FIELDS, Sender, judge, sender_of
from services.intake.handlers import SERVICE
from shared import meters
from shared.clock import Clock
from shared.kafka import Message, Publisher, Topics
from shared.parking import Digest, count_parked, parked_event
from shared.unusable import Watch
from shared.verdicts import MALFORMED, Accepted, FieldError, Rejected, Verdict


class Raw(Protocol):
    """A record as it came: where, and its bytes. Kafka's client has such."""

    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Taking:
    """What the taking of records needs. ``senders`` gives those that are known now."""

    senders: Callable[[], Collection[Sender]]
    publisher: Publisher
    topics: Topics
    clock: Clock
    watch: Watch
    digest: Digest


async def take(records: Sequence[Raw], topic: str, partition: int, expected: int, taking: Taking) -> None:
    """Publishes what is accepted and parks what is not; returns when all of it is durable.

    What is parked is known by its origin, ``topic/partition/offset``: parked twice, it has one. ``expected`` is the offset that the
    batch goes on from.

    Raises:
        MostlyUnusable: nothing was published.
        KafkaUnavailable: it is not known how much was stored; taking the same records again is harmless.
    """
    now, senders, topics = taking.clock(), taking.senders(), taking.topics
    messages: list[Message] = []
    unusable: set[int] = set()
    reasons: list[str] = []
    ignored = 0
    for record in records:
        value = record.value or b""
        item = _parsed(value)
        sender = sender_of(item, senders)
        verdict: Verdict = _NOT_JSON if item is _BROKEN else judge(item, sender, now)
        if isinstance(verdict, Accepted):
            messages.append(Message(topics.case_events, verdict.key, verdict.value))
            ignored += verdict.ignored
            continue
        origin = f"{topic}/{partition}/{record.offset}"
        parked = parked_event(
            service=SERVICE, origin=origin, verdict=verdict, raw=value, item=item,
            fields=SHOWN_FIELDS, sender=sender.id if sender else None, at=now, digest=taking.digest,
        )  # fmt: skip
        messages.append(Message(topics.parked, origin, parked))
        unusable.add(record.offset)
        reasons.append(verdict.reason)
    taking.watch.check(partition, expected, records, unusable)
    await taking.publisher.publish(messages)
    meters.EVENTS.labels(SERVICE, "accepted").inc(len(records) - len(unusable))
    meters.EVENTS.labels(SERVICE, "rejected").inc(len(unusable))
    count_parked(SERVICE, reasons)
    meters.IGNORED_FIELDS.labels(SERVICE).inc(ignored)


_BROKEN = object()
_NOT_JSON = Rejected(None, MALFORMED, (FieldError(pointer="", message="the record's value is not JSON in UTF-8"),))


def _parsed(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return _BROKEN
