"""The time limits as configured, and the due dates that they give (``docs/time-limits.md``). Pure; all days are business days."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.utilities.domain.steps import USUAL_ORDER, Pauses, Timing, merged
from shared.events.case import Service
from shared.events.utility import InstallationStep
from shared.workdays import PUBLISHED, Calendar

CustomerKind = Literal["resident", "low_voltage", "high_voltage", "high_voltage_two_feeds", "other", "unsaid"]
"""A kind of customer as reported; ``unsaid`` where no event names one."""

_DAY: Final = timedelta(days=1)
_PLACE: Final = {step: place for place, step in enumerate(USUAL_ORDER)}


class LimitsError(ValueError):
    """The configuration cannot be used; the message says where and why."""


class _Configured(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Configured):
    """``working_days`` for the ``stretches`` together, each from one step to another; no ``customer_kinds``: for all."""

    services: tuple[Service, ...] = Field(min_length=1)
    customer_kinds: tuple[CustomerKind, ...] = ()
    stretches: tuple[tuple[InstallationStep, InstallationStep], ...] = Field(min_length=1)
    working_days: int = Field(ge=0, le=400)
    source: str = Field(min_length=1)

    @model_validator(mode="after")
    def _in_usual_order(self) -> Self:
        steps = [step for stretch in self.stretches for step in stretch]
        if any(step not in _PLACE for step in steps):
            raise ValueError(f"a stretch goes between steps of the usual order: {', '.join(USUAL_ORDER)}")
        if any(_PLACE[one] >= _PLACE[two] for one, two in pairwise(steps)):
            raise ValueError("the steps of the stretches follow each other in the usual order")
        return self


class Permit(_Configured):
    """Whose works need a permit before they begin."""

    services: tuple[Service, ...] = ()
    customer_kinds: tuple[CustomerKind, ...] = ()


class Season(_Configured):
    """The days of a year, ``mm-dd``, from and to which connections are made; it may run over the new year."""

    begins: str = Field(alias="from", pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$")
    ends: str = Field(alias="to", pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$")

    def covers(self, day: date) -> bool:
        """Whether ``day`` is in season."""
        of_year = f"{day:%m-%d}"
        if self.begins <= self.ends:
            return self.begins <= of_year <= self.ends
        return of_year >= self.begins or of_year <= self.ends

    def gaps(self, since: date, years: int) -> Iterator[tuple[date, date]]:
        """The times out of season from ``since`` on, for so many years: from a day until before another."""
        for year in range(since.year - 1, since.year + years + 1):
            ends = date.fromisoformat(f"{year}-{self.ends}") + _DAY
            begins = date.fromisoformat(f"{year + (self.begins <= self.ends)}-{self.begins}")
            if begins > since:
                yield max(ends, since), begins


class Configuration(_Configured):
    """The whole file."""

    due_soon_days: int = Field(ge=0, le=60)
    limit: tuple[Rule, ...] = ()
    permit: Permit = Permit()
    season: dict[Service, Season] = Field(default_factory=dict)


class DueStep(NamedTuple):
    """A limit of one step, as :class:`shared.events.progress.Limit` tells it."""

    step: InstallationStep
    since: date
    working_days: int
    due_on: date | None
    due_soon_from: date | None
    ended_on: date | None
    provisional: bool


class TimeLimits:
    """What the configuration says, with the calendar that counts. ``digest`` is that of both: the same gives the same dates."""

    def __init__(self, configuration: Configuration, calendar: Calendar = PUBLISHED) -> None:
        self.configuration = configuration
        self.calendar = calendar
        content = f"{RULES_VERSION}|{configuration.model_dump_json()}|{calendar.digest}"
        self.digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        self._soon = configuration.due_soon_days
        self._rules = {
            (service, kind): tuple(
                rule for rule in configuration.limit if service in rule.services and kind in (rule.customer_kinds or KINDS)
            )
            for service in Service
            for kind in KINDS
        }
        self._add = lru_cache(maxsize=1 << 17)(calendar.add)

    @classmethod
    def read(cls, content: Mapping[str, object], calendar: Calendar = PUBLISHED) -> Self:
        """From the file's values.

        Raises:
            LimitsError: with each place that is wrong.
        """
        try:
            return cls(Configuration.model_validate(content), calendar)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors(include_url=False)
            )
            raise LimitsError(f"the time limits cannot be used: {wrong}") from None

    def season(self, service: str | None) -> Season | None:
        """When this service is connected; ``None``: always."""
        return self.configuration.season.get(service) if service is not None else None  # type: ignore[call-overload]

    def needs_permit(self, service: str | None, kind: str | None) -> bool:
        """Whether works need a permit. Where the service is not said, none is missed."""
        permit = self.configuration.permit
        return service in permit.services and (kind or UNSAID) in (permit.customer_kinds or KINDS)

    def due_steps(self, timing: Timing) -> list[DueStep]:
        """Every limit that ran or runs. A stretch ends with its step, or with any later one: what was passed by is not late."""
        found: list[DueStep] = []
        service, days = timing.service, timing.days
        for rule in self._rules.get((service, timing.customer_kind or UNSAID), ()):  # type: ignore[arg-type]
            left = rule.working_days
            for start, step in rule.stretches:
                since = days.get(start)
                if since is None:
                    break
                ended = _ended(days, step)
                if ended is not None and ended < since:
                    ended = since
                stops = self._stops(timing.pauses, service, step, since, left)
                due = self._counted(since, left, stops)
                soon = self._counted(since, max(0, left - self._soon), stops) if due is not None else None
                provisional = due is not None and self.calendar.is_provisional(due)
                found.append(DueStep(step, since, left, due, soon, ended, provisional))
                if ended is None:
                    break
                left = max(0, left - self._used(since, ended, stops))
        return found

    def _stops(self, pauses: Pauses, service: str | None, step: InstallationStep, since: date, days: int) -> Pauses:
        season = self.season(service) if step is InstallationStep.CONNECTED else None
        if season is None:
            return pauses
        return merged((*pauses, *season.gaps(since, years=2 + days // 50)))

    def _counted(self, since: date, days: int, stops: Pauses) -> date | None:
        """The day on which ``days`` working days are used, those within ``stops`` left out; ``None`` where the clock stands."""
        day = since
        for begin, end in stops:
            if end is not None and end <= day:
                continue
            free = self.calendar.between(day, begin - _DAY)
            if days <= free:
                break
            if end is None:
                return None
            days -= free
            day = end - _DAY
        return self._add(day, days)

    def _used(self, since: date, until: date, stops: Pauses) -> int:
        """Working days after ``since`` up to ``until`` that are not within ``stops``."""
        used, day = 0, since
        for begin, end in stops:
            if end is not None and end <= day:
                continue
            if begin > until:
                break
            used += self.calendar.between(day, begin - _DAY)
            if end is None or end > until:
                return used
            day = end - _DAY
        return used + self.calendar.between(day, until)


UNSAID: Final = "unsaid"
KINDS: Final = ("resident", "low_voltage", "high_voltage", "high_voltage_two_feeds", "other", UNSAID)

RULES_VERSION: Final = 1
"""Raised with every change of this module that gives another date: then due dates are derived anew."""


def _ended(days: Mapping[InstallationStep, date], step: InstallationStep) -> date | None:
    found = days.get(InstallationStep.CANCELLED)
    for later in USUAL_ORDER[_PLACE[step] :]:
        day = days.get(later)
        if day is not None and (found is None or day < found):
            found = day
    return found


def next_due(steps: Sequence[DueStep]) -> DueStep | None:
    """Of those that run, the one that is due first; ``None`` where none has a due day."""
    running = [step for step in steps if step.ended_on is None and step.due_on is not None]
    return min(running, key=lambda step: (step.due_on, step.step), default=None)


class Lateness(NamedTuple):
    """When limits that have ended were overdue: on no day before ``begins``, on none from ``ends`` on."""

    begins: date
    ends: date


def past_lateness(steps: Sequence[DueStep]) -> Lateness | None:
    """The span of days within which ended limits were overdue; ``None`` where none was."""
    late = [(s.due_on + _DAY, s.ended_on) for s in steps if s.due_on and s.ended_on and s.due_on + _DAY < s.ended_on]
    return Lateness(min(begin for begin, _ in late), max(end for _, end in late)) if late else None
