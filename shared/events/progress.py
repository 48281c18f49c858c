"""Snapshots: ``cn.onething.progress.v1`` on ``progress``, compacted, keyed by kind and subject.

A snapshot is whole: its reader needs nothing but the newest of each key. So what changes by date (presence, the
registry) carries its whole timeline.
"""

from typing import Any, Final, Literal

from pydantic import Field

from shared.events.case import CountyCode, Service
from shared.events.envelope import WireModel
from shared.events.times import Day, Instant
from shared.events.utility import Business, InstallationStep, Level

TYPE: Final = "cn.onething.progress.v1"

Kind = Literal["installation", "presence", "registry"]


class Snapshot(WireModel):
    """The newest state of one subject. ``version`` only ever rises; ``deleted`` says that the subject is gone.

    ``state`` has the shape of the model below that bears the kind's name; readers of other kinds need not know it.
    """

    kind: Kind
    subject: str = Field(min_length=1, max_length=200)
    version: int = Field(ge=1)
    deleted: bool = False
    state: dict[str, Any] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.kind}|{self.subject}"


class PresencePeriod(WireModel):
    """How the company stood from ``effective_on`` until the next period begins."""

    effective_on: Day
    level: Level
    handles: tuple[Business, ...] = ()


class PresenceState(WireModel):
    """State of kind ``presence``; subject ``{county}/{company}/{service}``. ``periods`` by rising date."""

    county: CountyCode
    company: str
    service: Service
    periods: tuple[PresencePeriod, ...]


class RegistryPeriod(WireModel):
    """The company serves the county from ``valid_from`` until before ``valid_to`` (``None``: still)."""

    valid_from: Day
    valid_to: Day | None = None


class RegistryState(WireModel):
    """State of kind ``registry``; subject ``{county}/{company}/{service}``: one pair of the denominator."""

    county: CountyCode
    company: str
    name: str
    service: Service
    periods: tuple[RegistryPeriod, ...]


class InstallationState(WireModel):
    """State of kind ``installation``; subject ``{company}/{installation_no}``.

    ``step`` is the step that happened last, pauses aside; ``steps`` says when each happened. ``paused`` and ``resumed``
    by rising time. What no event has named is absent. A deleted installation has an empty state.
    """

    installation_no: str
    company: str
    county: CountyCode | None = None
    service: Service | None = None
    case_no: str | None = None
    case_source: str | None = None
    customer_kind: str | None = None
    data_version: int = Field(ge=1)
    step: InstallationStep | None = None
    steps: dict[InstallationStep, Instant] = Field(default_factory=dict)
    paused: tuple[Instant, ...] = ()
    resumed: tuple[Instant, ...] = ()
