"""Utility companies' events on ``utility-events``: installation steps, presence, window activity (CONTRACT §2)."""

import re
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shared.events.case import CountyCode, Operation, Service
from shared.events.envelope import IDENTIFIER, WireModel
from shared.events.times import Day, Instant

INSTALLATION_TYPE: Final = "cn.onething.installation.step.v1"
PRESENCE_TYPE: Final = "cn.onething.presence.v1"
WINDOW_TYPE: Final = "cn.onething.window.v1"

_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


def _month(text: str) -> str:
    if not _MONTH.fullmatch(text) or text.startswith("0000"):
        raise ValueError("a month is a string of the form yyyy-mm, e.g. 2024-09")
    return text


Month = Annotated[str, AfterValidator(_month)]
"""A calendar month, ``yyyy-mm``."""


class InstallationStep(StrEnum):
    """Steps of a joint installation, in their usual order; ``paused`` and ``resumed`` may repeat."""

    ACCEPTED = "accepted"
    SURVEYED = "surveyed"
    PLAN_REPLIED = "plan_replied"
    PERMITTED = "permitted"
    WORKS_STARTED = "works_started"
    WORKS_DONE = "works_done"
    INSPECTED = "inspected"
    CONNECTED = "connected"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    RESUMED = "resumed"


class Level(StrEnum):
    """How a company stands in a county's service hall (进驻)."""

    NONE = "none"
    AGENCY = "agency"
    COMPREHENSIVE_WINDOW = "comprehensive_window"
    OWN_WINDOW = "own_window"


class Business(StrEnum):
    """What is handled at the window. Co-located means: both, at a window."""

    JOINT_INSTALLATION = "joint_installation"
    PUBLIC_SERVICE = "public_service"


class Installation(WireModel):
    """The ``data`` of an installation step, normalised."""

    installation_no: str = Field(pattern=IDENTIFIER)
    case_no: str | None = Field(default=None, pattern=IDENTIFIER)
    case_source: str | None = Field(default=None, max_length=256)
    county: CountyCode | None = None
    service: Service | None = None
    company: str = Field(pattern=IDENTIFIER)
    step: InstallationStep | None = None
    occurred_at: Instant | None = None
    recorded_at: Instant
    data_version: int = Field(default=1, ge=1, le=2**31 - 1, strict=True)
    operation: Operation = Operation.UPSERT
    reason: str | None = Field(default=None, max_length=200)
    customer_kind: Literal["resident", "low_voltage", "high_voltage", "high_voltage_two_feeds", "other"] | None = None

    @model_validator(mode="after")
    def _names_what_it_changes(self) -> Self:
        if self.operation is not Operation.DELETE and self.step is None:
            raise ValueError("step is missing: only a delete goes without one")
        if self.operation is Operation.UPSERT and self.occurred_at is None:
            raise ValueError("occurred_at is missing: say when the step happened")
        return self


def _once(handles: tuple[Business, ...]) -> tuple[Business, ...]:
    return tuple(sorted(set(handles)))


class Presence(WireModel):
    """The ``data`` of a presence report: one register a county, company, service and ``effective_on``."""

    county: CountyCode
    company: str = Field(pattern=IDENTIFIER)
    service: Service
    level: Level
    handles: Annotated[tuple[Business, ...], AfterValidator(_once)] = ()
    effective_on: Day
    recorded_at: Instant
    evidence: str | None = Field(default=None, max_length=200)


class Window(WireModel):
    """What a company's window handled in a month: one register a county, company, service and month.

    ``public_service_handled`` counts cases of public service; 0 says that nothing was handled, which is more than silence.
    ``retract`` and ``delete`` take the report back: then nothing is reported.
    """

    county: CountyCode
    company: str = Field(pattern=IDENTIFIER)
    service: Service
    month: Month
    public_service_handled: int | None = Field(default=None, ge=0, le=2**31 - 1, strict=True)
    recorded_at: Instant
    operation: Operation = Operation.UPSERT

    @model_validator(mode="after")
    def _says_how_many(self) -> Self:
        if self.operation is Operation.UPSERT and self.public_service_handled is None:
            raise ValueError("public_service_handled is missing: 0 where nothing was handled")
        return self
