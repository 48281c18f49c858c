"""What the sample's utility companies report: how they stand in the halls, and installations in every stage.

The plan comes first and alone decides the expected co-location table; the registry gives the denominators. The reports
are then written from it with mistakes that are mended, three in ten are doubled, and all are shuffled.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from deploy.local.sample.golden import AS_OF, NOBODY_IN_THE_HALL
from deploy.local.sample.installations import Installation, invent
from deploy.local.sample.season import SENT_TWICE
from deploy.local.sample.stories import Story
from deploy.local.sample.telling import Event
from shared import counties
from shared.clock import SHANGHAI
from shared.events import utility
from shared.events.utility import Business, Level

SEED: Final = 20240931
REGISTRY: Final = Path(__file__).with_name("registry.csv")

SILENT: Final = NOBODY_IN_THE_HALL[1]
"""Nobody there has reported anything; in the other unit without companies each has reported that it is not there."""

PARTIAL: Final = ("130671", "130631", "130624", "130637", "130627", "130633")
BOTH: Final = (Business.JOINT_INSTALLATION, Business.PUBLIC_SERVICE)


class Pair(NamedTuple):
    """One row of the registry: the company offers the service in the county from ``valid_from`` until before ``valid_to``."""

    county: str
    company: str
    service: str
    valid_from: date
    valid_to: date | None

    def valid_on(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


class Standing(NamedTuple):
    """How a company stands in a hall from ``since`` until its next standing."""

    since: date
    level: Level
    handles: tuple[Business, ...] = ()

    @property
    def co_located(self) -> bool:
        """At a window, and both kinds of business handled there (CONTRACT §2)."""
        return self.level in (Level.COMPREHENSIVE_WINDOW, Level.OWN_WINDOW) and set(self.handles) == set(BOTH)


@dataclass(frozen=True, slots=True)
class CoLocation:
    """One row of the expected table."""

    applicable: int
    co_located: int
    none_at_all: bool


@dataclass(frozen=True, slots=True)
class Reports:
    """``pushes`` by company, in the order of sending. ``expected`` rows by county as of 30 September 2024."""

    pushes: dict[str, tuple[Event, ...]]
    expected: dict[str, CoLocation]
    installations: tuple[Installation, ...]
    plan: dict[Pair, tuple[Standing, ...]] = field(repr=False)


def read_registry(path: Path = REGISTRY) -> list[Pair]:
    """The sample's registry, in the order of the file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Pair(
                row["county"],
                row["company"],
                row["service"],
                date.fromisoformat(row["valid_from"]),
                date.fromisoformat(row["valid_to"]) if row["valid_to"] else None,
            )
            for row in csv.DictReader(file)
        ]


def build(registry: Sequence[Pair], joint: Sequence[Story], case_source: str, seed: int = SEED) -> Reports:
    """The companies' season; the same arguments give the same bytes. ``joint`` are the cases that installations answer."""
    rng = Random(seed)
    plan = {pair: _planned(rng, pair) for pair in registry}
    installations = invent(rng, [pair for pair in registry if pair.valid_on(AS_OF)], joint, case_source)
    events: dict[str, list[Event]] = {pair.company: [] for pair in registry}
    for pair, standings in plan.items():
        events[pair.company] += _reports(rng, pair, standings)
    for installation in installations:
        events[installation.company] += installation.events
    pushes: dict[str, tuple[Event, ...]] = {}
    for company, own in events.items():
        doubled = own + [event for event in own if rng.random() < SENT_TWICE]
        rng.shuffle(doubled)
        pushes[company] = tuple(doubled)
    return Reports(pushes, expected(plan, AS_OF), tuple(installations), plan)


def expected(plan: dict[Pair, tuple[Standing, ...]], day: date) -> dict[str, CoLocation]:
    """The co-location table on ``day`` by the plan; every unit of the roster has a row."""
    applicable: Counter[str] = Counter()
    co_located: Counter[str] = Counter()
    present: Counter[str] = Counter()
    for pair, standings in plan.items():
        if not pair.valid_on(day):
            continue
        begun = [standing for standing in standings if standing.since <= day]
        applicable[pair.county] += 1
        if begun:
            co_located[pair.county] += begun[-1].co_located
            present[pair.county] += begun[-1].level is not Level.NONE
    return {
        unit.code: CoLocation(applicable[unit.code], co_located[unit.code], present[unit.code] == 0) for unit in counties.ROSTER
    }


def _planned(rng: Random, pair: Pair) -> tuple[Standing, ...]:
    """The standings of one pair, by rising date."""
    since = max(pair.valid_from, date(2024, 3, 1)) + timedelta(days=rng.randrange(0, 120))
    if pair.valid_to is not None:  # it was there while it could be
        since = pair.valid_from + timedelta(days=rng.randrange(0, 120))
    window = rng.choice([Level.COMPREHENSIVE_WINDOW, Level.OWN_WINDOW])
    settled = Standing(since, window, BOTH)
    if pair.county == SILENT:
        return ()
    if pair.county in NOBODY_IN_THE_HALL:
        return (Standing(since, Level.NONE),)
    match pair.county, pair.company:
        case "130681", "china-unicom":  # came, and left before the end of September
            return (settled._replace(since=date(2024, 4, 8)), Standing(date(2024, 8, 16), Level.NONE))
        case "130635", "baoding-cable":  # leaves after it
            return (settled, Standing(date(2024, 10, 21), Level.NONE))
        case "130608", "china-mobile":  # by an agent first, then at a window
            return (Standing(date(2024, 3, 5), Level.AGENCY, BOTH), settled._replace(since=date(2024, 7, 1)))
        case "130631", "baoding-power":  # moves in after it
            return (Standing(since, Level.AGENCY, BOTH), settled._replace(since=date(2024, 10, 10)))
        case "130671", "baoding-power":  # at least one company is in this hall
            return (settled,)
    if pair.county not in PARTIAL:
        return (settled,)
    one = (rng.choice(BOTH),)
    choices: list[tuple[Standing, ...]] = [
        (settled,),
        (settled._replace(handles=one),),
        (Standing(since, Level.AGENCY, BOTH),),
        (Standing(since, Level.NONE),),
        (),
    ]
    return rng.choices(choices, [40, 20, 20, 10, 10])[0]


def _reports(rng: Random, pair: Pair, standings: Sequence[Standing]) -> list[Event]:
    """One report a standing; one in seven is first wrong, and corrected two days later."""
    events = []
    for standing in standings:
        recorded = datetime.combine(standing.since, time(9, rng.randrange(60)), SHANGHAI)
        if rng.random() < 1 / 7:
            wrong = (
                Standing(standing.since, Level.AGENCY) if standing.co_located else Standing(standing.since, Level.OWN_WINDOW, BOTH)
            )
            events.append(_report(pair, wrong, recorded, 1))
            recorded += timedelta(days=2)
        events.append(_report(pair, standing, recorded, 2))
    return events


def _report(pair: Pair, standing: Standing, recorded: datetime, number: int) -> Event:
    data: dict[str, Any] = {
        "county": pair.county,
        "company": pair.company,
        "service": pair.service,
        "level": standing.level.value,
        "handles": [business.value for business in standing.handles],
        "effective_on": standing.since.isoformat(),
        "recorded_at": recorded.isoformat(),
    }
    return {
        "specversion": "1.0",
        "id": f"presence-{pair.county}-{pair.service}-{standing.since:%Y%m%d}-{number}",
        "source": f"urn:onething:company:{pair.company}",
        "type": utility.PRESENCE_TYPE,
        "subject": f"{pair.county}/{pair.company}/{pair.service}",
        "time": recorded.isoformat(),
        "datacontenttype": "application/json",
        "data": data,
    }
