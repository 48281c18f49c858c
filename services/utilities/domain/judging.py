"""What a company may push, and how an event of ours is read again from the topic."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import orjson

from services.utilities.domain.installations import REPEATING
from services.utilities.domain.registry import Registry, subject_of
from shared import counties
from shared.clock import business_day
from shared.events.envelope import Envelope, encode
from shared.events.utility import INSTALLATION_TYPE, PRESENCE_TYPE, Installation, Presence
from shared.parking import HIDDEN, PERSONAL
from shared.verdicts import (
    MALFORMED,
    MOST_AHEAD,
    NOT_ENTITLED,
    Accepted,
    FieldError,
    Refusal,
    Rejected,
    Verdict,
    event_id_of,
    ignored_fields,
    open_envelope,
    read_data,
    refuse_future,
    refuse_people,
    require,
)

Body = TypeVar("Body", Installation, Presence)

FREE_TEXT: Final = frozenset({"reason", "evidence"})
"""What a company may write freely; numbers of people are removed, and it is never shown where an event is parked."""

SHOWN_FIELDS: Final = (frozenset(Installation.model_fields) | frozenset(Presence.model_fields)) - FREE_TEXT


def source_of(company: str) -> str:
    """The ``source`` of the company's events (CONTRACT §2)."""
    return f"urn:onething:company:{company}"


def judge(item: object, company: str, registry: Registry, now: datetime) -> Verdict:
    """Whether ``company`` may send ``item``; if so, the normalised event that will be published.

    Entitlement comes first: it is judged of events too that are wrong otherwise.
    """
    try:
        envelope, data = open_envelope(item)
        require(
            envelope.source == source_of(company), NOT_ENTITLED, "/source", f"the source of your events is {source_of(company)}"
        )
        require(data.get("company") in (None, company), NOT_ENTITLED, "/data/company", "another company's: send your own only")
        envelope, body = _read(envelope, data)
        require(
            registry.serves(company, body.county, body.service), NOT_ENTITLED, "/data/county",
            "the registry has no such service of yours in this county: ask the bureau to enter it",
        )  # fmt: skip
        case_no = body.case_no if isinstance(body, Installation) else None
        refuse_people(body.recorded_at, ("/id", envelope.id), ("/subject", envelope.subject), ("/data/case_no", case_no))
        if isinstance(body, Installation):
            refuse_future(body, now, "occurred_at", "recorded_at")
        else:
            refuse_future(body, now, "recorded_at")
            require(
                body.effective_on <= business_day(now + MOST_AHEAD), "future", "/data/effective_on",
                "a day to come: report the presence when it stands",
            )  # fmt: skip
    except Refusal as refusal:
        return Rejected(event_id_of(item), refusal.reason, refusal.errors)
    return Accepted(envelope.id, envelope.subject, encode(envelope, body), ignored_fields(type(body), data))


def read(value: bytes | None) -> tuple[str, Installation | Presence]:
    """The id and the data of an event as it stands on the topic.

    Entitlement and the clock were judged at the edge; the form is judged again.

    Raises:
        Refusal: it is none of ours.
    """
    item = parse(value)
    envelope, data = open_envelope(item)
    envelope, body = _read(envelope, data)
    require(envelope.source == source_of(body.company), NOT_ENTITLED, "/source", "not the source of the company that it names")
    return envelope.id, body


def parse(value: bytes | None) -> object:
    """The JSON value of a record.

    Raises:
        Refusal: it has none.
    """
    try:
        return orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        raise Refusal(MALFORMED, FieldError(pointer="", message="not JSON in UTF-8")) from None


def _read(envelope: Envelope, data: Mapping[str, Any]) -> tuple[Envelope, Installation | Presence]:
    """The event normalised: counties of the roster, in the subject too, and no number of a person in free text.

    Raises:
        Refusal: another type, a wrong field, or a subject that is not the data's.
    """
    if envelope.type == INSTALLATION_TYPE:
        body = _without_people(read_data(Installation, envelope, data))
        require(envelope.subject == body.installation_no, "invalid", "/subject", "the subject is the data's installation_no")
        require(
            body.step not in REPEATING or body.occurred_at is not None, "invalid", "/data/occurred_at",
            "paused and resumed may happen many times: say by occurred_at which one",
        )  # fmt: skip
        return envelope, body
    if envelope.type == PRESENCE_TYPE:
        presence = _without_people(read_data(Presence, envelope, data))
        subject = subject_of(presence.county, presence.company, presence.service)
        require(
            _normal_subject(envelope.subject) == subject, "invalid", "/subject", "the subject is the data's county/company/service"
        )
        return envelope.model_copy(update={"subject": subject}), presence
    raise Refusal("invalid", FieldError(pointer="/type", message=f"send {INSTALLATION_TYPE} or {PRESENCE_TYPE}"))


def _without_people(body: Body) -> Body:
    """Without what looks like an identity number or a phone in free text: such never reaches a topic (DESIGN §5)."""
    cleaned = {
        name: PERSONAL.sub(HIDDEN, text) for name in FREE_TEXT if (text := getattr(body, name, None)) and PERSONAL.search(text)
    }
    return body.model_copy(update=cleaned) if cleaned else body


def _normal_subject(subject: str) -> str:
    county, slash, rest = subject.partition("/")
    try:
        return counties.normalise(county).code + slash + rest
    except counties.UnknownCounty:
        return subject
