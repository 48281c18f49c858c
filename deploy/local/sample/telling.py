"""How a story reaches us: its events as a province's systems send them, with the mistakes that they make and mend.

Whatever way is taken, what the merge rules (CONTRACT §2) make of the events is the story again. That is simple to
see, because within a version a :class:`Teller` records each event no earlier than the one before, with a greater id:
what is said later wins.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from deploy.local.sample import people
from deploy.local.sample.stories import Happening, Story
from shared import counties
from shared.clock import SHANGHAI, rfc3339
from shared.events import case
from shared.events.case import Step

Event = dict[str, Any]
"""A CloudEvent as JSON values."""

ATTRIBUTES: Final = ("item", "county", "channel", "promised_on", "services")


class Teller:
    """Writes the events of one story, each recorded at or after the one before."""

    def __init__(self, rng: Random, story: Story, source: str) -> None:
        self.rng = rng
        self.story = story
        self.events: list[Event] = []
        self._source = source
        self._recorded = story.happenings[0].at

    def say(self, happening: Happening | None, attributes: Iterable[str] = (), *, version: int | None = None, **other: str) -> None:
        """Adds one event that names ``attributes`` as the story has them; ``other`` members of ``data`` replace those."""
        story, rng = self.story, self.rng
        self._recorded += timedelta(seconds=rng.choice([0, 1, 40, 600]))  # at the same second too: then the id decides
        truth: dict[str, Any] = {
            "item": story.item,
            "county": story.county,
            "channel": story.channel.value,
            "promised_on": story.promised_on and story.promised_on.isoformat(),
            "services": [service.value for service in story.services] or None,
        }
        data: dict[str, Any] = {"case_no": story.case_no}
        data |= {name: truth[name] for name in attributes if truth[name] is not None}
        if happening is not None:
            self._recorded = max(self._recorded, happening.at)
            data |= {"step": happening.step.value, "occurred_at": self._written(happening.at)}
            if happening.outcome is not None:
                data["outcome"] = happening.outcome
            if happening.step is Step.APPLIED or rng.random() < 0.2:
                data["applicant"] = people.applicant(story.case_no)
        if version is not None:
            data["data_version"] = version
        data |= other
        if "county" in data:
            data["county"] = _as_systems_write_it(rng, data["county"])
        time = self._written(self._recorded)
        if rng.random() < 0.7:
            data["recorded_at"] = time  # else the event's own time says it
        self.events.append(
            {
                "specversion": "1.0",
                "id": f"{story.case_no}-{len(self.events) + 1:02}",
                "source": self._source,
                "type": case.TYPE,
                "subject": story.case_no,
                "time": time,
                "datacontenttype": "application/json",
                "data": data,
            }
        )

    def wait(self) -> None:
        """Lets some time pass, so that what is said next is recorded later by the clock and not by the id alone."""
        self._recorded += timedelta(minutes=30)

    def _written(self, at: datetime) -> str:
        return rfc3339(at) if self.rng.random() < 0.1 else at.astimezone(SHANGHAI).isoformat()


Way = Callable[[Teller], None]
"""One way to tell a story."""


def plainly(teller: Teller, version: int | None = None) -> None:
    """Each step once. The application names every attribute, the later steps name them or say nothing."""
    for place, happening in enumerate(teller.story.happenings):
        teller.say(happening, ATTRIBUTES if place == 0 or teller.rng.random() < 0.5 else (), version=version)


def with_a_wrong_time(teller: Teller) -> None:
    """One step is first said to have happened on another day, then corrected."""
    place = teller.rng.randrange(len(teller.story.happenings))
    right = teller.story.happenings[place]
    days = teller.rng.choice([-9, -2, 3, 60])
    teller.say(right._replace(at=right.at + timedelta(days=days)))
    plainly(teller)


def with_a_wrong_outcome(teller: Teller) -> None:
    """The completion is first said to be of the other outcome, then corrected. Not completed: told plainly."""
    for happening in teller.story.happenings:
        if happening.outcome is not None:
            teller.say(happening._replace(outcome="denied" if happening.outcome == "granted" else "granted"))
    plainly(teller)


def from_another_county(teller: Teller) -> None:
    """Entered in a wrong county, then moved to the right one."""
    first, *rest = teller.story.happenings
    teller.say(first, ATTRIBUTES, county=_another(teller))
    for happening in rest or [first]:
        teller.say(happening, ("county",))


def in_a_new_version(teller: Teller) -> None:
    """A first version with a wrong county and a false completion; the second replaces it, though the first speaks up again."""
    wrong = _another(teller)
    first = teller.story.happenings[0]
    false = Happening(Step.COMPLETED, first.at + timedelta(hours=2), "granted")
    teller.say(first, ATTRIBUTES, county=wrong)
    teller.say(false)
    plainly(teller, version=2)
    teller.say(false, ("county",), version=1, county=wrong)


def county_last(teller: Teller) -> None:
    """The first steps come without county and item; only the last event names them."""
    *earlier, last = teller.story.happenings
    for happening in earlier or [last]:
        teller.say(happening, ("channel",))
    teller.say(last, ATTRIBUTES)


def with_a_retracted_step(teller: Teller) -> None:
    """A completion (a return, where the case was truly completed) that did not happen, taken back."""
    first = teller.story.happenings[0]
    done = any(happening.step is Step.COMPLETED for happening in teller.story.happenings)
    step = Step.RETURNED if done else Step.COMPLETED
    teller.say(first, ATTRIBUTES)
    teller.say(Happening(step, first.at + timedelta(minutes=30), None if done else "granted"))
    teller.say(None, operation="retract", step=step.value)
    plainly(teller)


def deleted_and_revived(teller: Teller) -> None:
    """Deleted by mistake; a later event brings the case back with the steps that it had."""
    plainly(teller)
    teller.say(None, operation="delete")
    teller.wait()
    teller.say(teller.story.happenings[-1])


def entered_by_mistake(teller: Teller) -> None:
    """The whole case is deleted in the end: it counts nowhere."""
    plainly(teller)
    teller.say(None, operation="delete")


def without_a_place(teller: Teller) -> None:
    """No event ever names the county: the case is kept, and counts nowhere until one does."""
    for happening in teller.story.happenings:
        teller.say(happening, ("item", "channel"))


def _another(teller: Teller) -> str:
    return teller.rng.choice([county.code for county in counties.ROSTER if county.code != teller.story.county])


def _as_systems_write_it(rng: Random, code: str) -> str:
    """The code as it is, as one that has been retired, or with the township's or village's digits behind it."""
    retired = counties.BY_CODE[code].retired_codes
    if retired and rng.random() < 0.25:
        code = rng.choice(retired)
    return code + rng.choices(["", "100", "001002", "000000"], [85, 5, 6, 4])[0]
