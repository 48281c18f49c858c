"""Cases as they truly went, before anybody reports them: what the figures must come to in the end."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum, auto
from random import Random
from typing import Final, Literal, NamedTuple

from deploy.local.sample.golden import AS_OF, FIRST_DAY, Figures
from deploy.local.sample.times import after_working_days, any_hour, around_midnight, is_working_day, office_hour, working_days
from shared.clock import business_day
from shared.events.case import Channel, Service, Step

LAST_DAY: Final = date(2024, 11, 15)
"""Nothing of the sample happens after it."""

CHANNELS: Final = {Channel.WINDOW: 52, Channel.MOBILE: 27, Channel.WEB: 16, Channel.MAIL: 3, Channel.OTHER: 2}
ONLINE: Final = (Channel.WEB, Channel.MOBILE)

Outcome = Literal["granted", "denied"]


class Happening(NamedTuple):
    """A step that took place at ``at``."""

    step: Step
    at: datetime
    outcome: Outcome | None = None


class Ending(Enum):
    """How a case stands at the end of September."""

    COMPLETED = auto()
    COMPLETED_LATER = auto()
    UNDER_WAY = auto()
    SUPPLEMENTING = auto()
    NOT_ACCEPTED = auto()
    RETURNED = auto()
    WITHDRAWN = auto()
    VOIDED = auto()


UNFINISHED: Final = {
    Ending.COMPLETED_LATER: 30,
    Ending.UNDER_WAY: 22,
    Ending.SUPPLEMENTING: 10,
    Ending.NOT_ACCEPTED: 12,
    Ending.RETURNED: 10,
    Ending.WITHDRAWN: 11,
    Ending.VOIDED: 5,
}
"""Weights of the ways in which a case may be without completion on the last day of September."""


@dataclass(frozen=True, slots=True)
class Story:
    """One case. ``happenings`` are in the order in which they took place, the application first."""

    case_no: str
    item: str
    county: str
    channel: Channel
    happenings: tuple[Happening, ...]
    promised_on: date | None = None
    services: tuple[Service, ...] = ()

    def figures(self, as_of: date) -> Figures:
        """What this case alone adds to its county's figures up to ``as_of``."""
        return Figures(
            handled=int(any(business_day(h.at) <= as_of for h in self.happenings)),
            completed=int(any(h.step is Step.COMPLETED and business_day(h.at) <= as_of for h in self.happenings)),
        )


class Writer:
    """Invents stories. The same ``rng`` and the same calls give the same stories."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._serials: Counter[str] = Counter()

    def of_the_season(self, item: str, county: str, figures: Figures, services: tuple[Service, ...] = ()) -> list[Story]:
        """Stories that come to exactly ``figures`` on the last day of September."""
        endings = [Ending.COMPLETED] * figures.completed
        endings += self._rng.choices(list(UNFINISHED), list(UNFINISHED.values()), k=figures.handled - figures.completed)
        return [self._story(item, county, ending, services) for ending in endings]

    def of_october(self, item: str, county: str, count: int) -> list[Story]:
        """Stories that begin after September and so are nothing to its figures."""
        return [self._story(item, county, Ending.COMPLETED_LATER, (), october=True) for _ in range(count)]

    def _story(self, item: str, county: str, ending: Ending, services: tuple[Service, ...], october: bool = False) -> Story:
        rng = self._rng
        channel = rng.choices(list(CHANNELS), list(CHANNELS.values()))[0]
        if services and channel not in ONLINE:
            channel = Channel.WINDOW
        applied = self._applied_in_october(channel) if october else self._applied(channel, ending)
        happenings = [Happening(Step.APPLIED, applied)]
        self._go_on(happenings, ending)
        day = business_day(applied)
        accepted = next((h.at for h in happenings if h.step is Step.ACCEPTED), None)
        promised_on = None
        if accepted is not None and rng.random() < 0.85:
            promised_on = after_working_days(business_day(accepted), rng.choice([5, 10, 15, 20]))
        place = f"{county}{day:%Y%m%d}"
        self._serials[place] += 1
        # Five digits of serial: a number of 18 digits in all would read as somebody's identity number.
        case_no = f"{place}{self._serials[place]:05}"
        return Story(case_no, item, county, channel, tuple(happenings), promised_on, services)

    def _applied(self, channel: Channel, ending: Ending) -> datetime:
        rng = self._rng
        if ending is Ending.COMPLETED_LATER:
            if channel in ONLINE and rng.random() < 0.3:
                return around_midnight(rng, AS_OF, late=True)
            first, last = date(2024, 9, 9), AS_OF
        elif ending is Ending.COMPLETED and channel in ONLINE:
            first, last = FIRST_DAY, AS_OF - timedelta(days=3)  # time to be completed
        else:
            first, last = FIRST_DAY, AS_OF
        # The item was new in spring: later days are likelier.
        length = (last - first).days
        day = first + timedelta(days=round(rng.triangular(0, length, length * 0.8)))
        return self._moment(channel, day, last)

    def _applied_in_october(self, channel: Channel) -> datetime:
        rng = self._rng
        if channel in ONLINE and rng.random() < 0.3:
            return around_midnight(rng, date(2024, 10, 1), late=False)
        last = date(2024, 10, 31)
        return self._moment(channel, date(2024, 10, rng.randint(1, 31)), last)

    def _moment(self, channel: Channel, day: date, last: date) -> datetime:
        if channel in ONLINE:
            return any_hour(self._rng, day)
        while not is_working_day(day):
            day += timedelta(days=1 if day < last else -1)
        return office_hour(self._rng, day)

    def _go_on(self, happenings: list[Happening], ending: Ending) -> None:
        """Adds what followed the application, each later than the one before."""
        rng = self._rng
        if ending is Ending.COMPLETED:
            until = AS_OF
        elif ending is Ending.COMPLETED_LATER:
            until = LAST_DAY
        else:
            until = LAST_DAY - timedelta(days=5)

        def then(step: Step, most_days: int, not_before: date | None = None, outcome: Outcome | None = None) -> None:
            before = happenings[-1].at
            first = business_day(before)
            if first < until and not 9 <= before.hour < 17:
                first += timedelta(days=1)
            days = working_days(max(first, not_before or first), until)
            at = office_hour(rng, days[min(rng.randint(0, most_days), len(days) - 1)])
            if at <= before:
                at = before + timedelta(minutes=rng.randint(3, 20))
            happenings.append(Happening(step, at, outcome))

        outcome: Outcome = "denied" if rng.random() < 0.04 else "granted"
        match ending:
            case Ending.NOT_ACCEPTED:
                then(Step.NOT_ACCEPTED, 3)
                return
            case Ending.RETURNED if rng.random() < 0.5:
                then(Step.RETURNED, 3)
                return
            case Ending.UNDER_WAY if rng.random() < 0.3:
                return
            case Ending.SUPPLEMENTING:
                then(Step.SUPPLEMENT_REQUESTED, 3)
                return
        if rng.random() < 0.12:
            then(Step.SUPPLEMENT_REQUESTED, 2)
        then(Step.ACCEPTED, 3)
        match ending:
            case Ending.COMPLETED:
                then(Step.COMPLETED, 0 if rng.random() < 0.15 else 18, outcome=outcome)
            case Ending.COMPLETED_LATER:
                then(Step.COMPLETED, 15, not_before=date(2024, 10, 8), outcome=outcome)
            case Ending.RETURNED:
                then(Step.RETURNED, 8)
            case Ending.WITHDRAWN:
                then(Step.WITHDRAWN, 10)
            case Ending.VOIDED:
                then(Step.VOIDED, 10)
