"""What companies' events must come to, in plain Python over the events as sent: it shares no code with the service.

Events are CloudEvents as dictionaries in normal form: six-digit counties, times in UTC ending in ``Z``, defaults
written out, so that the payload digest is that of ``data`` as it stands.
"""

import hashlib
import json
import random
from collections.abc import Iterable
from typing import Any

Event = dict[str, Any]

STEPS = [
    "accepted", "surveyed", "plan_replied", "permitted", "works_started", "works_done", "inspected", "connected", "cancelled",
]  # fmt: skip
REPEATING = ["paused", "resumed"]
ATTRIBUTES = ["county", "service", "case_no", "case_source", "customer_kind"]
INSTALLATION_TYPE = "cn.onething.installation.step.v1"
PRESENCE_TYPE = "cn.onething.presence.v1"


def _order(event: Event) -> tuple[str, str, str]:
    content = json.dumps(event["data"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return event["data"]["recorded_at"], event["id"], hashlib.sha256(content.encode()).hexdigest()


def told(events: Iterable[Event]) -> dict[tuple[str, str], dict[str, Any] | None]:
    """What snapshots must say, by kind and subject; ``None`` for what is deleted."""
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        if event["type"] == PRESENCE_TYPE:
            key = ("presence", event["subject"])
        else:
            key = ("installation", f"{event['data']['company']}/{event['subject']}")
        groups.setdefault(key, []).append(event)
    return {key: (_presence if key[0] == "presence" else _installation)(group) for key, group in groups.items()}


def _presence(events: list[Event]) -> dict[str, Any]:
    periods: dict[str, dict[str, Any]] = {}
    for event in sorted(events, key=_order):
        data = event["data"]
        periods[data["effective_on"]] = {name: data[name] for name in ("effective_on", "level", "handles")}
    data = events[0]["data"]
    return {name: data[name] for name in ("county", "company", "service")} | {"periods": [periods[day] for day in sorted(periods)]}


def _installation(events: list[Event]) -> dict[str, Any] | None:
    version = max(event["data"]["data_version"] for event in events)
    live = sorted((event for event in events if event["data"]["data_version"] == version), key=_order)
    deleted_at: tuple[str, ...] = ()
    other_at: tuple[str, ...] = ()
    state: dict[str, Any] = {}
    steps: dict[str, str] = {}
    many: dict[str, set[str]] = {"paused": set(), "resumed": set()}
    for event in live:
        data = event["data"]
        state |= {name: data[name] for name in ATTRIBUTES if name in data}
        if data["operation"] == "delete":
            deleted_at = _order(event)[:2]
            continue
        other_at = _order(event)[:2]
        step, upsert = data["step"], data["operation"] == "upsert"
        if step in many:
            (many[step].add if upsert else many[step].discard)(data["occurred_at"])
        elif upsert:
            steps[step] = data["occurred_at"]
        else:
            steps.pop(step, None)
    if deleted_at and deleted_at >= other_at:
        return None
    state |= {"installation_no": live[0]["subject"], "company": live[0]["data"]["company"], "data_version": version}
    if steps:
        state["step"] = max(steps, key=lambda step: (steps[step], STEPS.index(step)))
    return state | {"steps": steps} | {step: sorted(times) for step, times in many.items()}


def presence(
    company: str, county: str, service: str, *, event_id: str, effective_on: str, recorded_at: str, level: str, handles: list[str]
) -> Event:
    """A presence report in normal form."""
    data = {
        "county": county, "company": company, "service": service, "level": level, "handles": sorted(handles),
        "effective_on": effective_on, "recorded_at": recorded_at,
    }  # fmt: skip
    return _event(PRESENCE_TYPE, f"{county}/{company}/{service}", event_id, data)


def installation(company: str, number: str, *, event_id: str, recorded_at: str, **data: Any) -> Event:
    """An installation event in normal form."""
    body = {"installation_no": number, "company": company, "recorded_at": recorded_at, "data_version": 1, "operation": "upsert"}
    return _event(INSTALLATION_TYPE, number, event_id, body | {name: value for name, value in data.items() if value is not None})


def _event(type_: str, subject: str, event_id: str, data: dict[str, Any]) -> Event:
    source = f"urn:onething:company:{data['company']}"
    return {"specversion": "1.0", "id": event_id, "source": source, "type": type_, "subject": subject, "data": data}


def season(seed: int, pairs: list[tuple[str, str, str]], installations: int) -> list[Event]:
    """Reports of ``pairs`` (county, company, service): of their presence, and of as many installations.

    With corrections, retractions, deletions, second versions and repeated pauses, in no order.
    """
    rng = random.Random(seed)
    events: list[Event] = []
    serial = iter(range(10**9))

    def moment() -> str:
        return f"2024-{rng.randint(3, 8):02}-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:00Z"

    for county, company, service in pairs:
        events += [
            presence(
                company, county, service, event_id=f"p{next(serial)}", recorded_at=moment(),
                effective_on=f"2024-0{rng.randint(1, 3)}-01",
                level=rng.choice(["none", "agency", "comprehensive_window", "own_window"]),
                handles=rng.sample(["joint_installation", "public_service"], rng.randint(0, 2)),
            )
            for _ in range(rng.randint(1, 4))
        ]  # fmt: skip
    for number in range(installations):
        county, company, service = rng.choice(pairs)
        for _ in range(rng.randint(1, 8)):
            operation = rng.choices(["upsert", "retract", "delete"], [8, 1, 1])[0]
            events.append(
                installation(
                    company, f"AZ{number:05}", event_id=f"i{next(serial)}", recorded_at=moment(), county=county, service=service,
                    operation=operation, data_version=rng.choices([1, 2], [5, 1])[0],
                    step=None if operation == "delete" else rng.choice(STEPS + REPEATING),
                    occurred_at=None if operation == "delete" else moment(),
                    case_no=rng.choice([None, f"C{number}"]),
                )
            )  # fmt: skip
    rng.shuffle(events)
    return events
