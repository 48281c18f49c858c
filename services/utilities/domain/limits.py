"""The time limits as configured, and the due dates that they give (``docs/time-limits.md``). Pure; all days are business days,
as ordinals of the calendar where they are many."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.utilities.domain.steps import PLACES, USUAL_ORDER, Pauses, Timing, merged
from shared.events.case import Service
from shared.events.utility import InstallationStep
from shared.workdays import PUBLISHED, Calendar

CustomerKind = Literal["resident", "low_voltage", "high_voltage", "high_voltage_two_feeds", "other", "unsaid"]
"""A kind of customer as reported; ``unsaid`` where no event names one."""

_STEPS: Final = tuple(PLACES)
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

    def gaps(self, since: int, years: int) -> Iterator[tuple[int, int]]:
        """The times out of season from the day ``since`` on, for so many years: from a day until before another, as ordinals."""
        first = date.fromordinal(since).year - 1
        for year in range(first, first + years + 2):
            ends = date.fromisoformat(f"{year:04}-{self.ends}").toordinal() + 1
            begins = date.fromisoformat(f"{year + (self.begins <= self.ends):04}-{self.begins}").toordinal()
            if begins > since:
                yield max(ends, since), begins


class Configuration(_Configured):
    """The whole file."""

    due_soon_days: int = Field(ge=0, le=60)
    limit: tuple[Rule, ...] = ()
    permit: Permit = Permit()
    season: dict[Service, Season] = Field(default_factory=dict)


class DueStep(NamedTuple):
    """A limit of one step, as :class:`shared.events.progress.Limit` tells it; days as ordinals."""

    step: InstallationStep
    since: int
    working_days: int
    due_on: int | None
    due_soon_from: int | None
    ended_on: int | None
    provisional: bool


class _Stretch(NamedTuple):
    """From the step at one place to that at another. ``season`` is when its days count, ``None``: always."""

    start: int
    place: int
    season: "Season | None"
    last: bool


class TimeLimits:
    """What the configuration says, with the calendar that counts. ``digest`` is that of both: the same gives the same dates."""

    def __init__(self, configuration: Configuration, calendar: Calendar = PUBLISHED) -> None:
        self.configuration = configuration
        self.calendar = calendar
        content = f"{RULES_VERSION}|{configuration.model_dump_json()}|{calendar.digest}"
        self.digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        self._soon = configuration.due_soon_days
        self._until = calendar.published_until.toordinal()
        self._worked = lru_cache(maxsize=1 << 16)(calendar.working_days_until)
        self._gaps = lru_cache(maxsize=1 << 16)(_gaps)
        self._add = lru_cache(maxsize=1 << 16)(lambda day, days: calendar.add(date.fromordinal(day), days).toordinal())
        # Installations of a season share their days: nearly every limit that never paused was reckoned before.
        self._reckoned = lru_cache(maxsize=1 << 16)(self._reckon)
        self._rules = {
            (service, None if kind == UNSAID else kind): tuple(
                (rule.working_days, tuple(self._stretches(rule, service)))
                for rule in configuration.limit
                if service in rule.services and kind in (rule.customer_kinds or KINDS)
            )
            for service in Service
            for kind in KINDS
        }

    def _stretches(self, rule: Rule, service: Service) -> Iterator[_Stretch]:
        for start, step in rule.stretches:
            season = self.season(service) if step is InstallationStep.CONNECTED else None
            yield _Stretch(PLACES[start], PLACES[step], season, (start, step) == rule.stretches[-1])

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
        service, kind, days, pauses = timing
        reckon = self._reckon if pauses else self._reckoned
        for left, stretches in self._rules.get((service, kind), ()):  # type: ignore[arg-type]
            for start, place, season, last in stretches:
                since = days[start]
                if since is None:
                    break
                ended = None
                for day in days[place:]:
                    if day is not None and (ended is None or day < ended):
                        ended = day
                if ended is not None and ended < since:
                    ended = since
                stops = pauses
                if season is not None:
                    gaps = self._gaps(season, since, 2 + left // 50)
                    stops = merged((*pauses, *gaps)) if pauses else gaps
                due, soon = reckon(since, left, stops)
                found.append(DueStep(_STEPS[place], since, left, due, soon, ended, due is not None and due > self._until))
                if ended is None or last:
                    break
                left = max(0, left - self._used(since, ended, stops))
        return found

    def _reckon(self, since: int, days: int, stops: Pauses) -> tuple[int | None, int | None]:
        """When a limit is due that runs from ``since``, and from when on that is soon; ``None`` where the clock stands."""
        due = self._counted(since, days, stops)
        return due, self._counted(since, max(0, days - self._soon), stops) if due is not None else None

    def _between(self, start: int, end: int) -> int:
        return max(0, self._worked(end) - self._worked(start))

    def _counted(self, since: int, days: int, stops: Pauses) -> int | None:
        """The day on which ``days`` working days are used, those within ``stops`` left out; ``None`` where the clock stands.

        Where none is left to use, that is ``since``, or the first day after it on which the clock goes.
        """
        day = since
        for begin, end in stops:
            if end is not None and end <= day:
                continue
            if days == 0 and begin <= day:
                return end
            free = self._between(day, begin - 1)
            if days <= free:
                break
            if end is None:
                return None
            days -= free
            day = end - 1
        return self._add(day, days)

    def _used(self, since: int, until: int, stops: Pauses) -> int:
        """Working days after ``since`` up to ``until`` that are not within ``stops``."""
        used, day = 0, since
        for begin, end in stops:
            if end is not None and end <= day:
                continue
            if begin > until:
                break
            used += self._between(day, begin - 1)
            if end is None or end > until:
                return used
            day = end - 1
        return used + self._between(day, until)


UNSAID: Final = "unsaid"
KINDS: Final = ("resident", "low_voltage", "high_voltage", "high_voltage_two_feeds", "other", UNSAID)

RULES_VERSION: Final = 1
"""Raised with every change of this module that gives another date: then due dates are derived anew."""


def _gaps(season: Season, since: int, years: int) -> Pauses:
    return tuple(season.gaps(since, years))


class Lateness(NamedTuple):
    """When limits that have ended were overdue: on no day before ``begins``, on none from ``ends`` on; ordinals."""

    begins: int
    ends: int


class Outlook(NamedTuple):
    """Of the limits that run, the one that is due first; and when those that have ended were overdue. ``None``: none."""

    due: DueStep | None
    late: Lateness | None


def outlook(steps: Sequence[DueStep]) -> Outlook:
    """What an installation's limits come to."""
    first: DueStep | None = None
    late: Lateness | None = None
    for step in steps:
        name, _, _, due, _, ended, _ = step
        if due is None:
            continue
        if ended is None:
            if first is None or (due, name) < (first[3], first[0]):
                first = step
        elif due + 1 < ended:
            late = Lateness(due + 1, ended) if late is None else Lateness(min(late[0], due + 1), max(late[1], ended))
    return Outlook(first, late)
