"""What a company may push, and how an event of ours is read again from the topic."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
import orjson

from services.utilities.domain.registry import Registry, subject_of
from services.utilities.domain.steps import REPEATING
from services.utilities.domain.wire import (
    InstallationData,
    PresenceData,
    Reported,
    WindowData,
    is_sensible,
    read_quickly,
)
from services.utilities.domain.wire import source_of as source_of
from shared import counties
from shared.clock import business_day
from shared.events.envelope import Envelope, encode
from shared.events.utility import INSTALLATION_TYPE, PRESENCE_TYPE, WINDOW_TYPE, Installation, Presence, Window
from shared.parking import HIDDEN
from shared.people import PERSONAL
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
Judged = Installation | Presence | Window

FREE_TEXT: Final = frozenset({"reason", "evidence"})
"""What a company may write freely; numbers of people are removed, and it is never shown where an event is parked."""

SHOWN_FIELDS: Final = frozenset(name for model in (Installation, Presence, Window) for name in model.model_fields) - FREE_TEXT

_source: Final = re.compile(r"[!-~]{1,256}").fullmatch
"""As the senders' sources are."""

_WINDOW_SUBJECT: Final = ("county", "company", "service", "month")
_MERGED: Final[dict[type[Judged], type[Reported]]] = {
    Installation: InstallationData, Presence: PresenceData, Window: WindowData,
}  # fmt: skip


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
        require(body.company == company, NOT_ENTITLED, "/subject", "another company's: send your own only")
        require(
            registry.serves(company, body.county, body.service), NOT_ENTITLED, "/data/county",
            "the registry has no such service of yours in this county: ask the bureau to enter it",
        )  # fmt: skip
        refuse_people(body.recorded_at, ("/id", envelope.id), ("/subject", envelope.subject))
        if isinstance(body, Installation):
            refuse_people(body.recorded_at, ("/data/case_no", body.case_no), ("/data/case_source", body.case_source))
            require(
                body.case_source is None or _source(body.case_source) is not None, "invalid", "/data/case_source",
                "the source of the case's events, e.g. urn:onething:province:hebei",
            )  # fmt: skip
            refuse_future(body, now, "occurred_at", "recorded_at")
        elif isinstance(body, Window):
            refuse_future(body, now, "recorded_at")
            require(
                body.month <= f"{business_day(now + MOST_AHEAD):%Y-%m}", "future", "/data/month",
                "a month to come: report it when it has begun",
            )  # fmt: skip
        else:
            refuse_future(body, now, "recorded_at")
            require(
                body.effective_on <= business_day(now + MOST_AHEAD), "future", "/data/effective_on",
                "a day to come: report the presence when it stands",
            )  # fmt: skip
    except Refusal as refusal:
        return Rejected(event_id_of(item), refusal.reason, refusal.errors)
    return Accepted(envelope.id, envelope.subject, encode(envelope, body), ignored_fields(type(body), data))


def read(value: bytes | None) -> tuple[str, Reported]:
    """The id and the data of an event as it stands on the topic.

    Entitlement and the clock were judged at the edge; the form is judged again.

    Raises:
        Refusal: it is none of ours.
    """
    return read_quickly(value) or read_closely(value)


def read_closely(value: bytes | None) -> tuple[str, Reported]:
    """As :func:`read`, by the models that judge what is pushed.

    Raises:
        Refusal: it is none of ours.
    """
    envelope, body = _read(*open_envelope(parse(value)))
    require(envelope.source == source_of(body.company), NOT_ENTITLED, "/source", "not the source of the company that it names")
    return envelope.id, msgspec.convert(body, _MERGED[type(body)], from_attributes=True)


def parse(value: bytes | None) -> object:
    """The JSON value of a record.

    Raises:
        Refusal: it has none.
    """
    try:
        return orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        raise Refusal(MALFORMED, FieldError(pointer="", message="not JSON in UTF-8")) from None


def _read(envelope: Envelope, data: Mapping[str, Any]) -> tuple[Envelope, Judged]:
    """The event normalised: counties of the roster, in the subject too, and no number of a person in free text.

    Raises:
        Refusal: another type, a wrong field, or a subject that is not the data's.
    """
    if envelope.type == INSTALLATION_TYPE:
        body = _without_people(read_data(Installation, envelope, data))
        require(envelope.subject == body.installation_no, "invalid", "/subject", "the subject is the data's installation_no")
        _refuse_senseless(body.recorded_at, "recorded_at")
        _refuse_senseless(body.occurred_at, "occurred_at")
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
        _refuse_senseless(presence.recorded_at, "recorded_at")
        return envelope.model_copy(update={"subject": subject}), presence
    if envelope.type == WINDOW_TYPE:
        window = read_data(Window, envelope, _with_subject(envelope.subject, data))
        subject = f"{subject_of(window.county, window.company, window.service)}/{window.month}"
        require(
            _normal_subject(envelope.subject) == subject, "invalid", "/subject",
            "the subject is the data's county/company/service/month",
        )  # fmt: skip
        _refuse_senseless(window.recorded_at, "recorded_at")
        return envelope.model_copy(update={"subject": subject}), window
    raise Refusal("invalid", FieldError(pointer="/type", message=f"send {INSTALLATION_TYPE}, {PRESENCE_TYPE} or {WINDOW_TYPE}"))


def _refuse_senseless(instant: datetime | None, name: str) -> None:
    if instant is not None and not is_sensible(instant):
        reason, message = ("invalid", "a time before 1900: correct it") if instant.year < 1900 else ("future", "a time after 2199")
        raise Refusal(reason, FieldError(pointer=f"/data/{name}", message=message))


def _with_subject(subject: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """``data``, with what it leaves out of county, company, service and month as the subject says them."""
    said = dict(zip(_WINDOW_SUBJECT, subject.split("/"), strict=False)) if subject.count("/") == len(_WINDOW_SUBJECT) - 1 else {}
    return said | {name: value for name, value in data.items() if value is not None}


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
