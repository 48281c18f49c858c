"""Whole messages, envelope and data, as they stand on each topic: what contracts and their examples are checked by.

Services read raw bytes by faster ways; these models say the same in one place, and tests hold both to the same examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from shared.events import case, county_metric, parked, progress, utility
from shared.events.envelope import Envelope
from shared.events.times import Instant


class Nothing(BaseModel):
    """The empty state of a subject that is gone."""

    model_config = ConfigDict(extra="forbid")


class Message(Envelope):
    """Any of ours, in CloudEvents' structured JSON format."""

    datacontenttype: Literal["application/json"] = "application/json"


class PushedCaseStep(case.CaseStep):
    """A case's step as it is pushed: ``recorded_at`` may be left to the event's ``time``; ``applicant`` never leaves intake."""

    recorded_at: Instant | None = None  # type: ignore[assignment]
    applicant: dict[str, Any] | None = None


class PushedCaseEvent(Message):
    """A case event as a province sends it, over HTTP or on its own topic."""

    type: Literal["cn.onething.case.step.v1"]
    data: PushedCaseStep


class PushedInstallation(utility.Installation):
    """An installation's step as it is pushed: ``recorded_at`` may be left to the event's ``time``."""

    recorded_at: Instant | None = None  # type: ignore[assignment]


class PushedInstallationEvent(Message):
    """An installation's step as a company sends it."""

    type: Literal["cn.onething.installation.step.v1"]
    data: PushedInstallation


class PushedPresence(utility.Presence):
    """A report of presence as it is pushed."""

    recorded_at: Instant | None = None  # type: ignore[assignment]


class PushedPresenceEvent(Message):
    """A report of presence as a company sends it."""

    type: Literal["cn.onething.presence.v1"]
    data: PushedPresence


class PushedWindow(utility.Window):
    """A window's month as it is pushed: what the event's subject says may be left out."""

    county: case.CountyCode | None = None  # type: ignore[assignment]
    company: str | None = None  # type: ignore[assignment]
    service: case.Service | None = None  # type: ignore[assignment]
    month: utility.Month | None = None  # type: ignore[assignment]
    recorded_at: Instant | None = None  # type: ignore[assignment]


class PushedWindowEvent(Message):
    """A window's month as a company sends it."""

    type: Literal["cn.onething.window.v1"]
    data: PushedWindow


PushedUtilityEvent = Annotated[PushedInstallationEvent | PushedPresenceEvent | PushedWindowEvent, Field(discriminator="type")]
"""What companies push over HTTP."""


class CaseEvent(Message):
    """One step of a case, normalised; the key is the case number. How events merge: the contract, §2."""

    type: Literal["cn.onething.case.step.v1"]
    data: case.CaseStep


class InstallationEvent(Message):
    """One step of an installation; the key is its number."""

    type: Literal["cn.onething.installation.step.v1"]
    data: utility.Installation


class PresenceEvent(Message):
    """How a company stands in a county's hall from a day on; the key is ``{county}/{company}/{service}``."""

    type: Literal["cn.onething.presence.v1"]
    data: utility.Presence


class WindowEvent(Message):
    """What a company's window handled in a month; the key is ``{county}/{company}/{service}/{YYYY-MM}``."""

    type: Literal["cn.onething.window.v1"]
    data: utility.Window


UtilityEvent = Annotated[InstallationEvent | PresenceEvent | WindowEvent, Field(discriminator="type")]


class InstallationSnapshot(progress.Snapshot):
    kind: Literal["installation"]
    state: progress.InstallationState | Nothing  # type: ignore[assignment]  # the dictionary's shape, said exactly


class PresenceSnapshot(progress.Snapshot):
    kind: Literal["presence"]
    state: progress.PresenceState | Nothing  # type: ignore[assignment]  # the dictionary's shape, said exactly


class RegistrySnapshot(progress.Snapshot):
    kind: Literal["registry"]
    state: progress.RegistryState | Nothing  # type: ignore[assignment]  # the dictionary's shape, said exactly


class WindowSnapshot(progress.Snapshot):
    kind: Literal["window"]
    state: progress.WindowState | Nothing  # type: ignore[assignment]  # the dictionary's shape, said exactly


class JointSnapshot(progress.Snapshot):
    kind: Literal["joint"]
    state: progress.JointState | Nothing  # type: ignore[assignment]  # the dictionary's shape, said exactly


class ProgressEvent(Message):
    """The newest snapshot of one subject; the key is ``kind|subject``. A reader skips a kind that it does not know."""

    type: Literal["cn.onething.progress.v1"]
    data: Annotated[
        InstallationSnapshot | PresenceSnapshot | RegistrySnapshot | WindowSnapshot | JointSnapshot, Field(discriminator="kind")
    ]


class ParkedEvent(Message):
    """What could not be used, redacted; the key is its origin, so that a retry parks once."""

    type: Literal["cn.onething.parked.v1"]
    data: parked.Parked


class CountyMetricEvent(Message):
    """A counter's total; the key is ``county|item|measure``. The greatest version of a key is the right one."""

    type: Literal["cn.onething.county-metric.v1"]
    data: county_metric.CountyMetric


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """What stands on one topic. ``key`` says what a record's key is."""

    title: str
    model: Any
    key: str


PUSHED: Final[Mapping[str, Any]] = {"pushed-case-event": PushedCaseEvent, "pushed-utility-event": PushedUtilityEvent}
"""What is pushed over HTTP, by the name of its contract."""

TOPICS: Final[Mapping[str, TopicMessage]] = {
    "province-push": TopicMessage("Case event as pushed", PushedCaseEvent, "the case number"),
    "case-events": TopicMessage("Case event", CaseEvent, "the case number"),
    "utility-events": TopicMessage("Utility event", UtilityEvent, "the event's subject"),
    "progress": TopicMessage("Snapshot", ProgressEvent, "kind|subject"),
    "county-metrics": TopicMessage("Total of a counter", CountyMetricEvent, "county|item|measure"),
    "parked": TopicMessage("Parked record", ParkedEvent, "the record's origin"),
}
"""By the topic's own name, without prefix and version."""


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema (2020-12) of what is pushed and of what stands on each topic, by the name of its contract."""
    models = {**PUSHED, **{topic: message.model for topic, message in TOPICS.items()}}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: head | TypeAdapter(model).json_schema() for name, model in models.items()}


def inlined(model: Any) -> dict[str, Any]:
    """The JSON Schema of ``model`` without references, to stand within another document."""
    schema = TypeAdapter(model).json_schema()
    made: dict[str, Any] = _inlined(schema, schema.pop("$defs", {}))
    return made


def _inlined(value: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_inlined(inner, definitions) for inner in value]
    if not isinstance(value, Mapping):
        return value
    kept = {name: inner for name, inner in value.items() if name not in ("$ref", "discriminator")}
    if "$ref" in value:
        kept = {**definitions[value["$ref"].rpartition("/")[2]], **kept}
        return _inlined(kept, definitions)
    return {name: _inlined(inner, definitions) for name, inner in kept.items()}
