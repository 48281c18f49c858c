"""Case events: ``cn.onething.case.step.v1`` on ``case-events``, keyed by the case number (CONTRACT §2)."""

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from shared import counties, items
from shared.events.envelope import IDENTIFIER, WireModel
from shared.events.times import Day, Instant

TYPE: Final = "cn.onething.case.step.v1"


class Step(StrEnum):
    """What may happen to a case; each is one register of it."""

    APPLIED = "applied"
    ACCEPTED = "accepted"
    SUPPLEMENT_REQUESTED = "supplement_requested"
    NOT_ACCEPTED = "not_accepted"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"
    COMPLETED = "completed"
    VOIDED = "voided"


class Operation(StrEnum):
    UPSERT = "upsert"
    RETRACT = "retract"
    DELETE = "delete"


class Channel(StrEnum):
    WINDOW = "window"
    WEB = "web"
    MOBILE = "mobile"
    MAIL = "mail"
    OTHER = "other"


class Service(StrEnum):
    """The seven services of joint installation (联合报装)."""

    WATER = "water"
    DRAINAGE = "drainage"
    POWER = "power"
    GAS = "gas"
    HEAT = "heat"
    TELECOM = "telecom"
    CABLE_TV = "cable_tv"


def _county(code: str) -> str:
    try:
        return counties.normalise(code).code
    except counties.UnknownCounty as error:
        raise PydanticCustomError("unknown-county", "{why}", {"why": str(error)}) from None


def _item(code: str) -> str:
    try:
        return items.find(code).code
    except items.UnknownItem as error:
        raise PydanticCustomError("unknown-item", "{why}", {"why": str(error)}) from None


CountyCode = Annotated[str, AfterValidator(_county)]
"""A division code of 6, 9 or 12 digits, read as the six-digit code of a unit of the roster."""

ItemCode = Annotated[str, AfterValidator(_item)]


def _once(services: tuple[Service, ...]) -> tuple[Service, ...]:
    return tuple(sorted(set(services)))


class CaseStep(WireModel):
    """The ``data`` of a case event, normalised: six-digit county of the roster, aware times.

    An absent attribute says nothing about the case. ``applicant`` has no field here: people's data is
    dropped by reading an event into this model.
    """

    case_no: str = Field(pattern=IDENTIFIER)
    item: ItemCode | None = None
    county: CountyCode | None = None
    step: Step | None = None
    outcome: Literal["granted", "denied"] | None = None
    occurred_at: Instant | None = None
    recorded_at: Instant
    data_version: int = Field(default=1, ge=1, le=2**31 - 1, strict=True)
    operation: Operation = Operation.UPSERT
    channel: Channel | None = None
    promised_on: Day | None = None
    services: Annotated[tuple[Service, ...], AfterValidator(_once)] | None = None

    @model_validator(mode="after")
    def _names_what_it_changes(self) -> Self:
        if self.operation is not Operation.DELETE and self.step is None:
            raise ValueError("step is missing: only a delete goes without one")
        if self.operation is Operation.UPSERT and self.occurred_at is None:
            raise ValueError("occurred_at is missing: say when the step happened")
        if self.outcome is not None and self.step is not Step.COMPLETED:
            raise ValueError("outcome belongs to the step completed only")
        return self
