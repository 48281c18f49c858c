"""Snapshots: ``cn.onething.progress.v1`` on ``progress``, compacted, keyed by kind and subject.

A snapshot is whole: its reader needs nothing but the newest of each key. So what changes by date (presence, the
registry) carries its whole timeline.
"""

from datetime import date
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import Field

from shared.events.case import CountyCode, Service
from shared.events.envelope import WireModel
from shared.events.times import Day, Instant
from shared.events.utility import Business, InstallationStep, Level, Month

TYPE: Final = "cn.onething.progress.v1"

Kind = Literal["installation", "presence", "registry", "window", "joint"]


class Snapshot(WireModel):
    """The newest state of one subject. ``version`` only ever rises; ``deleted`` says that the subject is gone.

    ``state`` has the shape of the model below that bears the kind's name; readers of other kinds need not know it.
    """

    kind: Kind
    subject: str = Field(min_length=1, max_length=400)
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


class WindowState(WireModel):
    """State of kind ``window``; subject ``{county}/{company}/{service}/{YYYY-MM}``: what the window handled in a month.

    A report of nothing (0) is a report; where nobody reported there is no snapshot, or one that is deleted.
    """

    county: CountyCode
    company: str
    service: Service
    month: Month
    public_service_handled: int = Field(ge=0)


class AnomalyCode(StrEnum):
    """What cannot be true of an installation as reported: shown, never refused. :data:`ANOMALY_WORDS` says it in Chinese."""

    NOT_ACCEPTED = "not_accepted"
    CONNECTED_BEFORE_ACCEPTED = "connected_before_accepted"
    WORKS_WITHOUT_PERMIT = "works_without_permit"
    OUT_OF_ORDER = "out_of_order"
    STEP_AFTER_CANCELLED = "step_after_cancelled"
    STEP_WHILE_PAUSED = "step_while_paused"
    PAUSED_TWICE = "paused_twice"
    RESUMED_WITHOUT_PAUSE = "resumed_without_pause"
    CONNECTED_OUT_OF_SEASON = "connected_out_of_season"


ANOMALY_WORDS: Final[dict[AnomalyCode, str]] = {
    AnomalyCode.NOT_ACCEPTED: "已有后续环节,未报受理",
    AnomalyCode.CONNECTED_BEFORE_ACCEPTED: "接通早于受理",
    AnomalyCode.WORKS_WITHOUT_PERMIT: "未取得外线审批即施工",
    AnomalyCode.OUT_OF_ORDER: "环节时间先后颠倒",
    AnomalyCode.STEP_AFTER_CANCELLED: "取消后仍有环节",
    AnomalyCode.STEP_WHILE_PAUSED: "暂停期间仍有环节",
    AnomalyCode.PAUSED_TWICE: "未恢复又暂停",
    AnomalyCode.RESUMED_WITHOUT_PAUSE: "未暂停即恢复",
    AnomalyCode.CONNECTED_OUT_OF_SEASON: "非供暖季接通",
}


class Limit(WireModel):
    """A time limit that runs, or ran, for one step (``docs/time-limits.md``); all days are business days in China's time.

    ``since`` is the day whose step set the clock going, ``due_on`` the last day in time, ``due_soon_from`` the day from
    which it is due soon; both are ``None`` while the clock stands (paused, or out of season). ``ended_on`` is the day on
    which the step or a later one happened, or the installation was cancelled. ``provisional``: the limit runs
    into a year whose holidays are not published.
    """

    step: InstallationStep
    since: Day
    working_days: int = Field(ge=0)
    due_on: Day | None = None
    due_soon_from: Day | None = None
    ended_on: Day | None = None
    provisional: bool = False

    def runs_on(self, day: date) -> bool:
        """Whether, at the end of ``day``, it has begun and not ended."""
        return self.since <= day and (self.ended_on is None or day < self.ended_on)

    def overdue_on(self, day: date) -> bool:
        """Whether, at the end of ``day``, it is past its due day with the step not done."""
        return self.due_on is not None and self.due_on < day and self.runs_on(day)


class Pause(WireModel):
    """The installation stands still from ``from_on`` until before ``to_on`` (``None``: still)."""

    from_on: Day
    to_on: Day | None = None


WaitsOn = Literal["company", "authority", "applicant", "season"]
"""Who must act: the company; the authorities that permit (外线审批); the applicant (paused); or the heating season."""


class InstallationState(WireModel):
    """State of kind ``installation``; subject ``{company}/{installation_no}``.

    ``step`` is the step that happened last, pauses aside; ``steps`` says when each happened. ``paused`` and ``resumed``
    by rising time, ``pauses`` what they come to. What no event has named is absent. A deleted installation has an empty
    state.

    ``limits`` holds every time limit that ran or runs; ``due_step``, ``due_on``, ``due_soon_from`` and ``provisional``
    repeat the one that is due next. The figures of any day come from these alone: see :meth:`overdue_on`. None of them says
    what day it is: a day that passes changes no state. ``anomalies`` by :class:`AnomalyCode`'s order.
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
    pauses: tuple[Pause, ...] = ()
    limits: tuple[Limit, ...] = ()
    due_step: InstallationStep | None = None
    due_on: Day | None = None
    due_soon_from: Day | None = None
    provisional: bool = False
    next_step: InstallationStep | None = None
    waits_on: WaitsOn | None = None
    anomalies: tuple[AnomalyCode, ...] = ()

    def paused_on(self, day: date) -> bool:
        """Whether it stands still at the end of ``day``."""
        return any(p.from_on <= day and (p.to_on is None or day < p.to_on) for p in self.pauses)

    def overdue_on(self, day: date) -> bool:
        """Whether one of its limits is overdue at the end of ``day``."""
        return any(limit.overdue_on(day) for limit in self.limits)

    def due_soon_on(self, day: date) -> bool:
        """Whether, not overdue and not paused at the end of ``day``, a limit is within the threshold of its due day."""
        return (
            not self.paused_on(day)
            and not self.overdue_on(day)
            and any(x.due_soon_from is not None and x.due_soon_from <= day and x.runs_on(day) for x in self.limits)
        )


class JointPart(WireModel):
    """One service that a joint case asks for.

    ``status``: ``no_company`` (the registry has none there), ``unreported`` (nobody reports on it yet), ``in_progress``,
    ``paused``, ``connected``, ``cancelled``. ``companies`` are those that the registry had there on the day the case was
    opened; ``company`` is the one that has it: who reported, else the only one. ``others`` are further installations
    (``{company}/{installation_no}``) that name the same case and service. ``ended_on`` is when it was connected or cancelled;
    ``last_on`` when its last step happened.
    """

    service: Service
    status: Literal["no_company", "unreported", "in_progress", "paused", "connected", "cancelled"]
    companies: tuple[str, ...] = ()
    company: str | None = None
    installation_no: str | None = None
    step: InstallationStep | None = None
    last_on: Day | None = None
    ended_on: Day | None = None
    next_step: InstallationStep | None = None
    waits_on: WaitsOn | None = None
    due_step: InstallationStep | None = None
    due_on: Day | None = None
    others: tuple[str, ...] = ()


class JointState(WireModel):
    """State of kind ``joint``; subject ``{case_source}/{case_no}``: a joint installation as a whole.

    ``status``: ``open``; ``complete`` when every part is connected or cancelled; ``ended`` when the case was withdrawn,
    voided, returned or not accepted before (``ended_by`` says which). ``ended_on`` is that day. ``slowest`` is the service that
    ended last or, while it is open, the one that holds the others up: the furthest behind, and of these the one that has not
    moved for longest. ``unasked`` are installations that name the case for a service that it does not ask for;
    ``ambiguous`` those that name its number alone, which cases of other sources bear too.
    """

    case_no: str
    case_source: str
    county: CountyCode | None = None
    status: Literal["open", "complete", "ended"]
    opened_on: Day | None = None
    ended_on: Day | None = None
    ended_by: str | None = None
    parts: tuple[JointPart, ...] = ()
    slowest: Service | None = None
    unasked: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()
