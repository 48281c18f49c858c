"""Installations of the sample: every step is somebody's last one, some are paused, resumed, cancelled or deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple, Protocol

from deploy.local.sample.golden import AS_OF
from deploy.local.sample.stories import Story
from deploy.local.sample.telling import Event
from deploy.local.sample.times import after_working_days, office_hour
from shared.clock import business_day
from shared.events import utility
from shared.events.utility import InstallationStep as Step

USUAL: Final = (
    Step.ACCEPTED,
    Step.SURVEYED,
    Step.PLAN_REPLIED,
    Step.PERMITTED,
    Step.WORKS_STARTED,
    Step.WORKS_DONE,
    Step.INSPECTED,
    Step.CONNECTED,
)
CUSTOMER_KINDS: Final = ("resident", "low_voltage", "high_voltage", "high_voltage_two_feeds", "other")
EACH_STAGE: Final = 3
"""How many installations, besides those of joint cases, end at each stage."""


class Offer(Protocol):
    """A company that offers a service in a county."""

    @property
    def county(self) -> str: ...
    @property
    def company(self) -> str: ...
    @property
    def service(self) -> str: ...


class Happening(NamedTuple):
    """A step that took place at ``at``; a pause and a cancellation have a ``reason``."""

    step: Step
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Installation:
    """One installation as it truly went, and the events that report it. ``deleted``: entered by mistake, to count nowhere."""

    number: str
    company: str
    county: str
    service: str
    happenings: tuple[Happening, ...]
    deleted: bool
    events: tuple[Event, ...]


def invent(rng: Random, offers: Sequence[Offer], joint: Sequence[Story], case_source: str) -> list[Installation]:
    """Installations that stop at each stage in turn, then those that answer the services of the ``joint`` cases.

    In each joint case the last service asked for has nobody yet; the others are as far as they are.
    """
    found: list[Installation] = []
    ways: list[tuple[Step, ...]] = [USUAL[: place + 1] for place in range(len(USUAL))]
    ways += [
        (*USUAL[:2], Step.PAUSED),
        (*USUAL[:3], Step.PAUSED, Step.RESUMED),
        (*USUAL[:2], Step.PAUSED, Step.RESUMED, USUAL[2], Step.PAUSED, Step.RESUMED, *USUAL[3:]),
        (*USUAL[:3], Step.CANCELLED),
        (Step.ACCEPTED, Step.PAUSED, Step.CANCELLED),
    ]
    for way in ways:
        for _ in range(EACH_STAGE):
            first = date(2024, 4, 1) + timedelta(days=rng.randrange(0, 80))
            found.append(_installation(rng, len(found), rng.choice(offers), way, first))
    for _ in range(EACH_STAGE):
        found.append(_installation(rng, len(found), rng.choice(offers), USUAL[:4], date(2024, 7, 1), deleted=True))
    for story in joint:
        for service in story.services[:-1]:
            able = [offer for offer in offers if (offer.county, offer.service) == (story.county, service)]
            if able:
                first = business_day(story.happenings[0].at)
                case = {"case_no": story.case_no, "case_source": case_source}
                found.append(_installation(rng, len(found), rng.choice(able), rng.choice(ways), first, case=case))
    return found


def _installation(
    rng: Random,
    serial: int,
    offer: Offer,
    way: Sequence[Step],
    first: date,
    *,
    deleted: bool = False,
    case: dict[str, str] | None = None,
) -> Installation:
    number = f"AZ{first:%Y%m%d}{serial:04}"
    happenings = _happenings(rng, way, first)
    attributes = {
        "county": offer.county,
        "service": offer.service,
        "customer_kind": rng.choice(CUSTOMER_KINDS),
        **(case or {}),
    }
    events: list[Event] = []

    def say(happening: Happening | None, recorded: datetime, **other: Any) -> None:
        data: dict[str, Any] = {"installation_no": number, "company": offer.company, **attributes}
        if happening is not None:
            data |= {"step": happening.step.value, "occurred_at": happening.at.isoformat()}
            if happening.reason is not None:
                data["reason"] = happening.reason
        events.append(
            {
                "specversion": "1.0",
                "id": f"{number}-{len(events) + 1:02}",
                "source": f"urn:onething:company:{offer.company}",
                "type": utility.INSTALLATION_TYPE,
                "subject": number,
                "time": recorded.isoformat(),
                "datacontenttype": "application/json",
                "data": data | {"recorded_at": recorded.isoformat()} | other,
            }
        )

    mistake = rng.random()
    if mistake < 0.1:  # a first version that knew of a connection; the second replaces it
        say(happenings[0]._replace(step=Step.CONNECTED), happenings[0].at)
    for happening in happenings:
        # A pause is known by its time, so only other steps can be given a wrong one that is corrected.
        if mistake > 0.85 and happening.step not in (Step.PAUSED, Step.RESUMED):
            say(happening._replace(at=happening.at - timedelta(days=1)), happening.at)
        say(happening, happening.at + timedelta(minutes=20), **({"data_version": 2} if mistake < 0.1 else {}))
    if deleted:
        last = happenings[-1].at + timedelta(days=1)
        say(None, last, operation="delete", **({"data_version": 2} if mistake < 0.1 else {}))
    return Installation(number, offer.company, offer.county, offer.service, tuple(happenings), deleted, tuple(events))


def _happenings(rng: Random, way: Sequence[Step], first: date) -> list[Happening]:
    """The steps of ``way`` from ``first`` on, some working days apart; what would be after September has not happened."""
    reasons = {Step.PAUSED: "用户现场不具备施工条件", Step.CANCELLED: "用户撤回申请"}
    found: list[Happening] = []
    day = after_working_days(first, 1)
    for step in way:
        if found and day > AS_OF:
            break
        found.append(Happening(step, office_hour(rng, day), reasons.get(step)))
        day = after_working_days(day, rng.randint(1, 4))
    return found
