"""Counts cases by the words of the contract, from all events at once: slow, plain, and sharing no code with the service.

Events are CloudEvents as dictionaries, with unique ``(recorded_at, id)`` for each content.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

Event = dict[str, Any]
Cell = tuple[str, str, date, str]
"""(item, county, business day, measure)"""


def count(events: Iterable[Event]) -> Counter[Cell]:
    """How many cases count in each cell."""
    cases: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        cases.setdefault((event["source"], event["data"]["case_no"]), []).append(event)
    cells: Counter[Cell] = Counter()
    for of_case in cases.values():
        cells.update(_cells(of_case))
    return cells


def _when(event: Event) -> tuple[datetime, bytes]:
    return datetime.fromisoformat(event["data"]["recorded_at"]), event["id"].encode()


def _newest(events: list[Event]) -> Event | None:
    return max(events, key=_when, default=None)


def _named(events: list[Event], attribute: str) -> Any:
    event = _newest([e for e in events if e["data"].get(attribute) is not None])
    return event["data"][attribute] if event else None


def _operation(event: Event) -> str:
    operation: str = event["data"].get("operation", "upsert")
    return operation


def _cells(events: list[Event]) -> list[Cell]:
    highest = max(e["data"].get("data_version", 1) for e in events)
    events = [e for e in events if e["data"].get("data_version", 1) == highest]

    deletes = [e for e in events if _operation(e) == "delete"]
    others = [e for e in events if _operation(e) != "delete"]
    delete, other = _newest(deletes), _newest(others)
    if delete is not None and (other is None or _when(delete) >= _when(other)):
        return []

    happened: dict[str, datetime] = {}
    for step in {e["data"]["step"] for e in others}:
        event = _newest([e for e in others if e["data"]["step"] == step])
        assert event is not None
        if _operation(event) == "upsert":
            happened[step] = datetime.fromisoformat(event["data"]["occurred_at"])

    county, item = _named(events, "county"), _named(events, "item")
    if county is None or item is None or not happened:
        return []

    def day(instant: datetime) -> date:
        return (instant + timedelta(hours=8) - instant.utcoffset()).date()  # type: ignore[operator]

    first = day(min(happened.values()))
    found: list[tuple[date, str]] = [(first, "handled")]
    if _named(events, "channel") in ("web", "mobile"):
        found.append((first, "online"))
    of_their_own = ("applied", "accepted", "completed", "not_accepted", "returned", "withdrawn")
    found += [(day(happened[measure]), measure) for measure in of_their_own if measure in happened]
    promise = _named(events, "promised_on")
    if promise is not None and "completed" in happened and day(happened["completed"]) <= date.fromisoformat(promise):
        found.append((day(happened["completed"]), "completed_on_time"))
    return [(item, county, on, measure) for on, measure in found]
