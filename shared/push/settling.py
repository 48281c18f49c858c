"""Judging a push, storing what came of it, and the answer with its receipt."""

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any, Final

import orjson
from fastapi.responses import Response

from shared import meters
from shared.kafka.publisher import KafkaUnavailable, Message, MessagesTooLarge, Publisher
from shared.parking import count_parked, parked_event
from shared.problems import ProblemError, problem
from shared.push.edge import Edge
from shared.push.framing import Push
from shared.verdicts import NOT_ENTITLED, PERSONAL_DATA, TOO_LARGE, Accepted, Rejected, Verdict, refuse_large

Judge = Callable[[object], Verdict]

# Found once each: looking a labelled counter up costs more than counting.
_events: Final = cache(meters.EVENTS.labels)
_ignored: Final = cache(meters.IGNORED_FIELDS.labels)

TITLES: Final = {
    NOT_ENTITLED: "Not entitled",
    "malformed": "Malformed event",
    "unknown-county": "Unknown county",
    "unknown-item": "Unknown item",
    "future": "Time in the future",
    "invalid": "Invalid event",
    "unknown-code": "Unknown code",
    "unknown-table": "Unknown table",
    "no-dialect": "No dialect",
    PERSONAL_DATA: "Personal data",
    TOO_LARGE: "Too large",
}


async def settle(
    push: Push,
    judge: Judge,
    publisher: Publisher,
    edge: Edge,
    *,
    sender: str,
    topic: str,
    parked_topic: str,
    shown_fields: Collection[str],
    sandbox: bool = False,
) -> Response:
    """Judges every item, publishes what is accepted, parks what is not, and answers only when that is durable.

    In a ``sandbox`` everything is judged and answered alike, and nothing is published or parked; the receipt says so.

    Raises:
        ProblemError: 403 or 422 with the results when no item is accepted (then nothing is parked: the sender was
            told and keeps them); 413 when Kafka takes none of them for its size; 503 when it does not confirm in time.
    """
    service, now = edge.service, edge.clock()
    verdicts = [judge(item) for item in push.items]
    results = [_result(index, verdict) for index, verdict in enumerate(verdicts)]
    accepted = [verdict for verdict in verdicts if isinstance(verdict, Accepted)]
    rejected = len(verdicts) - len(accepted)
    if not accepted:
        _events(service, "rejected").inc(rejected)
        raise _all_rejected([verdict for verdict in verdicts if isinstance(verdict, Rejected)], results)
    messages = [Message(topic, verdict.key, value) for verdict in accepted for value in verdict.values()]
    for index, verdict in enumerate(verdicts) if rejected else ():
        if isinstance(verdict, Rejected):
            origin = f"http/{service}/{sender}/{_printable(push.request_id)}/{index}"
            item = push.items[index]
            value = parked_event(
                service=service, origin=origin, verdict=verdict, raw=_bytes_of(item), item=item,
                fields=shown_fields, sender=sender, at=now, digest=edge.digest,
            )  # fmt: skip
            messages.append(Message(parked_topic, origin, value))
    if not sandbox:
        try:
            await _publish(publisher, messages, service, len(verdicts))
        except MessagesTooLarge as error:
            # The others are stored. They go again, with what is parked of these: that changes nothing.
            known = refuse_large(verdicts, error.values)
            if known == verdicts:
                raise _not_known(service, len(verdicts)) from None  # what is parked; the log says what to mend
            again = iter(known)
            return await settle(
                push, lambda _: next(again), publisher, edge, sender=sender, topic=topic, parked_topic=parked_topic,
                shown_fields=shown_fields,
            )  # fmt: skip
        _events(service, "accepted").inc(len(accepted))
        _events(service, "rejected").inc(rejected)
        _ignored(service).inc(sum(verdict.ignored for verdict in accepted))
        if rejected:
            count_parked(service, (verdict.reason for verdict in verdicts if isinstance(verdict, Rejected)))
    else:
        _events(service, "sandbox").inc(len(verdicts))
    receipt = edge.receipts.sign(
        service=service, sender=sender, at=edge.clock(), request_id=push.request_id, digest=push.digest,
        events=[verdict.event_id for verdict in accepted if verdict.value], sandbox=sandbox,
    )  # fmt: skip
    answer = {"accepted": len(accepted), "rejected": rejected, "results": results, "receipt": receipt}
    return Response(orjson.dumps(answer), 202, media_type="application/json")


async def _publish(publisher: Publisher, messages: Sequence[Message], service: str, events: int) -> None:
    try:
        await publisher.publish(messages)
    except KafkaUnavailable:
        raise _not_known(service, events) from None


def _not_known(service: str, events: int) -> ProblemError:
    _events(service, "unavailable").inc(events)
    detail = "send the same events again with the same ids; sending twice never counts twice"
    return ProblemError(503, "not-known-to-be-stored", detail, retry_after=5)


def _all_rejected(rejected: Sequence[Rejected], results: list[dict[str, Any]]) -> ProblemError:
    answer = {"accepted": 0, "rejected": len(rejected), "results": results}
    errors = rejected[0].errors if len(rejected) == 1 else ()
    if all(verdict.reason == NOT_ENTITLED for verdict in rejected):
        return ProblemError(403, NOT_ENTITLED, "these events are not yours to send: see the results", errors=errors, extra=answer)
    reason = rejected[0].reason if len(rejected) == 1 else "all-rejected"
    status = 413 if all(verdict.reason == TOO_LARGE for verdict in rejected) else 422
    return ProblemError(
        status, reason, "no event was accepted: mend what the results name and send them again", errors=errors, extra=answer
    )


def _result(index: int, verdict: Verdict) -> dict[str, Any]:
    if isinstance(verdict, Accepted):
        return {"index": index, "id": verdict.event_id, "status": "accepted"}
    body = problem(
        verdict.reason, TITLES.get(verdict.reason, "Rejected"), "mend the places named in errors and send it again", verdict.errors
    )
    return {"index": index, "id": verdict.event_id, "status": "rejected", "problem": body.model_dump(exclude_none=True)}


def _bytes_of(item: object) -> bytes:
    """The item's JSON, for its digest; empty where it is nested too deeply to be written again."""
    try:
        return orjson.dumps(item)
    except orjson.JSONEncodeError:
        return b""


def _printable(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in text)[:128]
