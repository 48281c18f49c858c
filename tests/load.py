"""A seeded load of case events as a province sends them: orderly stories, then repeated, corrected, deleted, moved, shuffled."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from shared import counties, items
from shared.events import case
from tests.case_events import SOURCE, text
from tests.oracle import Event

_SEASON = datetime(2024, 3, 25, 0, 30, tzinfo=UTC)
_STEPS = ("applied", "accepted", "completed")
_ENDINGS = ("not_accepted", "returned", "withdrawn", "supplement_requested", "voided")


def story(draw: random.Random, case_no: str) -> list[Event]:
    """The events of one case, with what may go wrong with them."""
    county, item = draw.choice(counties.ROSTER).code, draw.choice(items.CATALOGUE[:4]).code
    at = _SEASON + timedelta(minutes=draw.randrange(190 * 24 * 60))
    steps = list(_STEPS[: draw.choice((1, 2, 3, 3, 3))])
    if draw.random() < 0.1:
        steps.append(draw.choice(_ENDINGS))
    events: list[Event] = []

    def tell(operation: str = "upsert", **data: Any) -> None:
        recorded_at = at + timedelta(seconds=draw.randrange(1, 900))
        content = {"case_no": case_no, "operation": operation, "recorded_at": text(recorded_at), "county": county, "item": item}
        events.append(
            {
                "specversion": "1.0",
                "id": f"{case_no}-{len(events)}",
                "source": SOURCE,
                "type": case.TYPE,
                "subject": case_no,
                "data": {name: value for name, value in {**content, **data}.items() if value is not None},
            }
        )

    for step in steps:
        at += timedelta(hours=draw.randrange(1, 90))
        more: dict[str, Any] = {}
        if step == "applied":
            more = {"channel": draw.choice(("window", "web", "mobile")), "promised_on": text(at + timedelta(days=5))[:10]}
        tell(step=step, occurred_at=text(at), **more)
    at += timedelta(days=1)
    mishap = draw.random()
    if mishap < 0.06:
        tell(step="applied", occurred_at=text(at - timedelta(days=9)))  # a correction, earlier than was said
    elif mishap < 0.10:
        tell(step=steps[-1], operation="retract")
    elif mishap < 0.14:
        tell(operation="delete", county=None, item=None)
        if mishap < 0.12:
            at += timedelta(days=1)
            tell(step="accepted", occurred_at=text(at))  # and revived
    elif mishap < 0.18:
        tell(step="accepted", occurred_at=text(at), county=draw.choice(counties.ROSTER).code)  # moved
    elif mishap < 0.22:
        tell(step="applied", occurred_at=text(at), data_version=2)  # told anew
    elif mishap < 0.25:
        for event in events:
            del event["data"]["county"]  # never placed
    elif mishap < 0.30:
        tell(step="completed", occurred_at=text(at), channel="web", promised_on=text(at - timedelta(days=2))[:10])
    return events


def season(seed: int, cases: int) -> tuple[list[Event], list[Event]]:
    """Distinct events of ``cases`` cases, and the same as they arrive: three in ten twice, in any order."""
    draw = random.Random(seed)
    distinct = [event for number in range(cases) for event in story(draw, f"{draw.getrandbits(64):016x}{number}")]
    arriving = distinct + draw.sample(distinct, k=len(distinct) * 3 // 10)
    # Half of the cases come in order, as most of a live stream does; the other half in any.
    draw.shuffle(arriving)
    orderly = {event["subject"] for event in distinct if draw.random() < 0.3}
    ordered = iter(sorted((e for e in arriving if e["subject"] in orderly), key=lambda e: str(e["data"]["recorded_at"])))
    return distinct, [next(ordered) if event["subject"] in orderly else event for event in arriving]
