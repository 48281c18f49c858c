"""The sample season: seeded, without a clock, the same bytes each time; as untidy as the real thing.

Stories (what truly happened) come first and alone decide what is expected. Then each is told, some plainly, some with
mistakes that are mended later; three events in ten are sent twice, about 15 in 100 go by Kafka, and all are shuffled.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Final, Literal, NamedTuple

from deploy.local.sample import telling
from deploy.local.sample.golden import AS_OF, GOLDEN, ITEM, Figures
from deploy.local.sample.stories import Happening, Story, Writer
from deploy.local.sample.telling import Event, Teller, Way
from shared import counties
from shared.events.case import Service

SEED: Final = 20240930
SOURCE: Final = "urn:onething:province:hebei"
SENT_TWICE: Final = 0.3
BY_KAFKA: Final = 0.15
UNUSABLE_BY_KAFKA: Final = 2

WAYS: Final[dict[Way, int]] = {
    telling.plainly: 68,
    telling.with_a_wrong_time: 7,
    telling.with_a_wrong_outcome: 4,
    telling.from_another_county: 6,
    telling.in_a_new_version: 5,
    telling.county_last: 5,
    telling.with_a_retracted_step: 3,
    telling.deleted_and_revived: 2,
}
"""How often a story is told which way. All of them end as the story does."""

JOINT: Final = ("130607", "130626", "130609", "130634", "130602", "130606", "130681", "130684", "130637", "130671")
"""Where the sample has joint installations, between one and five each."""


class Push(NamedTuple):
    """One sending of one event."""

    via: Literal["http", "kafka"]
    event: Event


@dataclass(frozen=True, slots=True)
class Season:
    """``pushes`` in the order of sending. ``planned`` figures as of 30 September by item, then county.

    ``unusable`` counts the pushes that are to be refused, by how they travel; ``ways`` how often each way was taken.
    """

    pushes: tuple[Push, ...]
    planned: dict[str, dict[str, Figures]]
    unusable: dict[str, int]
    ways: Counter[str]
    joint: tuple[Story, ...]


def build(seed: int = SEED, source: str = SOURCE) -> Season:
    """The season; the same arguments give the same bytes."""
    rng = Random(seed)
    writer = Writer(rng)
    season = [story for county, figures in GOLDEN.items() for story in writer.of_the_season(ITEM, county, figures)]
    joint = [
        story
        for county in JOINT
        for _ in range(rng.randint(1, 5))
        for story in writer.of_the_season("joint-installation", county, Figures(1, int(rng.random() < 0.5)), _asked_for(rng))
    ]
    others = [
        story
        for item, most in (("credit-repair", 9), ("newborn", 4), ("school-enrolment", 3), ("retirement", 3))
        for county in GOLDEN
        for story in writer.of_the_season(item, county, _some(rng, most))
    ]
    october = [story for county in GOLDEN for story in writer.of_october(ITEM, county, rng.randint(0, 6))]
    mistakes = [story for county in GOLDEN for story in writer.of_the_season(ITEM, county, _some(rng, 4))]
    unplaced = writer.of_the_season(ITEM, "130602", Figures(4, 2))

    counted = season + joint + others
    ways: Counter[str] = Counter()
    events: list[Event] = []
    for story in counted + october:
        way = rng.choices(list(WAYS), list(WAYS.values()))[0]
        events += _told(rng, story, source, way, ways)
    for story in mistakes:
        events += _told(rng, story, source, telling.entered_by_mistake, ways)
    for story in unplaced:
        events += _told(rng, story, source, telling.without_a_place, ways)

    unusable = _unusable(rng, writer, source)
    sendings = events + [event for event in events if rng.random() < SENT_TWICE]
    pushes = [Push("kafka" if rng.random() < BY_KAFKA else "http", event) for event in sendings]
    pushes += [Push("kafka" if place < UNUSABLE_BY_KAFKA else "http", event) for place, event in enumerate(unusable)]
    rng.shuffle(pushes)
    return Season(
        pushes=tuple(pushes),
        planned=planned(counted, AS_OF),
        unusable={"http": len(unusable) - UNUSABLE_BY_KAFKA, "kafka": UNUSABLE_BY_KAFKA},
        ways=ways,
        joint=tuple(joint),
    )


def planned(stories: Iterable[Story], as_of: date) -> dict[str, dict[str, Figures]]:
    """The figures of ``stories`` by item, then county; every unit of the roster has a row."""
    sums: dict[str, dict[str, Figures]] = {}
    for story in stories:
        rows = sums.setdefault(story.item, {county.code: Figures() for county in counties.ROSTER})
        row, own = rows[story.county], story.figures(as_of)
        rows[story.county] = Figures(row.handled + own.handled, row.completed + own.completed)
    return sums


def _told(rng: Random, story: Story, source: str, way: Way, ways: Counter[str]) -> list[Event]:
    teller = Teller(rng, story, source)
    way(teller)
    ways[way.__name__] += 1
    return teller.events


def _some(rng: Random, most: int) -> Figures:
    handled = rng.randint(0, most)
    return Figures(handled, rng.randint(0, handled))


def _asked_for(rng: Random) -> tuple[Service, ...]:
    wanted = {Service.WATER, Service.POWER, *rng.sample(list(Service), rng.randint(0, 4))}
    return tuple(service for service in Service if service in wanted)


def _unusable(rng: Random, writer: Writer, source: str) -> list[Event]:
    """Events that must be refused. Each has a case of its own, so that a mistaken acceptance would show in the figures."""
    events = []
    stories = iter(writer.of_the_season(ITEM, "130602", Figures(12)))

    def event(happening: Happening | None = None, **other: str) -> Event:
        teller = Teller(rng, next(stories), source)
        teller.say(happening or teller.story.happenings[0], telling.ATTRIBUTES)
        teller.events[0]["data"] |= other
        events.append(teller.events[0])
        return teller.events[0]

    event(county="130629")  # 容城县: governed elsewhere. This one and the next go by Kafka
    event(item="unheard-of")
    event(county="110101")  # another province's
    event(county="13")
    event(occurred_at="2099-01-01T09:00:00+08:00")
    event(recorded_at="2099-01-01T09:00:00+08:00")
    event(occurred_at="2024-09-12 09:00:00")  # no offset: whose nine o'clock?
    event(outcome="granted")  # of an application
    event(case_no="130602209901010000X")  # not the subject
    del event()["data"]["step"]
    del event()["specversion"]
    event()["source"] = "urn:onething:province:elsewhere"
    assert next(stories, None) is None
    return events
