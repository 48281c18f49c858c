"""What companies' events must come to, in plain Python over the events as sent: it shares no code with the service.

Events are CloudEvents as dictionaries in normal form: six-digit counties, times in UTC ending in ``Z``, defaults
written out, so that the payload digest is that of ``data`` as it stands.
"""

import functools
import hashlib
import json
import random
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import chinese_calendar

Event = dict[str, Any]

STEPS = [
    "accepted", "surveyed", "plan_replied", "permitted", "works_started", "works_done", "inspected", "connected", "cancelled",
]  # fmt: skip
REPEATING = ["paused", "resumed"]
ATTRIBUTES = ["county", "service", "case_no", "case_source", "customer_kind"]
INSTALLATION_TYPE = "cn.onething.installation.step.v1"
PRESENCE_TYPE = "cn.onething.presence.v1"
WINDOW_TYPE = "cn.onething.window.v1"

KINDS: list[str | None] = [None, "resident", "low_voltage", "high_voltage", "high_voltage_two_feeds", "other"]
PLAN = [("accepted", "plan_replied")]
LIMITS: list[tuple[list[str], list[str | None], list[tuple[str, str]], int]] = [
    (["power"], ["resident"], PLAN, 3),
    (["power"], ["low_voltage"], PLAN, 7),
    (["power"], ["high_voltage"], PLAN, 15),
    (["power"], ["high_voltage_two_feeds", "other", None], PLAN, 30),
    (["power"], KINDS, [("works_done", "inspected")], 5),
    (["power"], KINDS, [("inspected", "connected")], 5),
    (["water", "gas", "heat"], KINDS, [*PLAN, ("works_done", "connected")], 3),
    (["telecom"], KINDS, [("accepted", "surveyed")], 3),
    (["water", "drainage", "power", "gas", "heat"], KINDS[2:], [("plan_replied", "permitted")], 2),
]
"""Services, kinds of customer, stretches of steps, working days: the limits that ship, written down a second time."""

WORDS = [
    "not_accepted", "connected_before_accepted", "works_without_permit", "out_of_order", "step_after_cancelled",
    "step_while_paused", "paused_twice", "resumed_without_pause", "connected_out_of_season",
]  # fmt: skip
DAY = timedelta(days=1)


def _order(event: Event) -> tuple[str, str, str]:
    content = json.dumps(event["data"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return event["data"]["recorded_at"], event["id"], hashlib.sha256(content.encode()).hexdigest()


def told(events: Iterable[Event]) -> dict[tuple[str, str], dict[str, Any] | None]:
    """What snapshots must say, by kind and subject; ``None`` for what is deleted."""
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        if event["type"] == PRESENCE_TYPE:
            key = ("presence", event["subject"])
        elif event["type"] == WINDOW_TYPE:
            key = ("window", event["subject"])
        else:
            key = ("installation", f"{event['data']['company']}/{event['subject']}")
        groups.setdefault(key, []).append(event)
    rules = {"presence": _presence, "window": _window, "installation": _installation}
    return {key: rules[key[0]](group) for key, group in groups.items()}


def _window(events: list[Event]) -> dict[str, Any] | None:
    data = max(events, key=_order)["data"]
    if data["operation"] != "upsert":
        return None
    return {name: data[name] for name in ("county", "company", "service", "month", "public_service_handled")}


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
    state |= {"steps": steps} | {step: sorted(times) for step, times in many.items()}
    return state | in_time(state)


@functools.cache
def day_of(text: str) -> date:
    return datetime.fromisoformat(text).astimezone(ZoneInfo("Asia/Shanghai")).date()


@functools.cache
def is_working(day: date) -> bool:
    try:
        return bool(chinese_calendar.is_workday(day))  # type: ignore[no-untyped-call]
    except NotImplementedError:
        return day.weekday() < 5


def in_season(service: str | None, day: date) -> bool:
    return service != "heat" or (day.month, day.day) >= (11, 15) or (day.month, day.day) <= (3, 15)


def stands_still(state: dict[str, Any], day: date) -> bool:
    """Whether a pause is the last word at the end of ``day``, with the installation neither connected nor cancelled."""
    if any(day_of(state["steps"][step]) <= day for step in ("connected", "cancelled") if step in state["steps"]):
        return False
    said = [(at, number) for number, step in enumerate(REPEATING) for at in state[step] if day_of(at) <= day]
    return bool(said) and max(said)[1] == 0


def _walk(state: dict[str, Any], step: str, since: date, days: int) -> date | None:
    """The day that uses up ``days``, found by going from day to day; ``None`` when it is not reached in some years."""
    day = since
    seasonal = step == "connected"
    if days == 0:
        going = (since + DAY * n for n in range(4000))
        return next((d for d in going if not stands_still(state, d) and (not seasonal or in_season(state.get("service"), d))), None)
    for _ in range(1500):
        if days == 0:
            return day
        day += DAY
        days -= _counts(state, step, day)
    return None


def _counts(state: dict[str, Any], step: str, day: date) -> bool:
    seasonal = step != "connected" or in_season(state.get("service"), day)
    return is_working(day) and seasonal and not stands_still(state, day)


def limits_of(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Every limit that ran or runs."""
    found = []
    days = {step: day_of(at) for step, at in state["steps"].items()}
    for services, kinds, stretches, allowed in LIMITS:
        if state.get("service") not in services or state.get("customer_kind") not in kinds:
            continue
        left = allowed
        for start, step in stretches:
            if start not in days:
                break
            ends = [days[later] for later in STEPS[STEPS.index(step) :] if later in days]
            ended = max(min(ends), days[start]) if ends else None
            due, soon = _walk(state, step, days[start], left), _walk(state, step, days[start], max(0, left - 1))
            told = {"step": step, "since": days[start], "working_days": left, "due_on": due, "ended_on": ended}
            told |= {"due_soon_from": soon if due else None, "provisional": due is not None and due.year > 2026}
            found.append(
                {name: str(value) if isinstance(value, date) else value for name, value in told.items() if value is not None}
            )
            if ended is None:
                break
            gone = (days[start] + DAY * n for n in range(1, (ended - days[start]).days + 1))
            left = max(0, left - sum(_counts(state, step, day) for day in gone))
    return found


def is_overdue(state: dict[str, Any], day: str) -> bool:
    """At the end of ``day``: a due day is past, and the step (or a later one) has not happened by then."""
    return any(
        "due_on" in x and x["due_on"] < day and x["since"] <= day and day < x.get("ended_on", "9999") for x in limits_of(state)
    )


def in_time(state: dict[str, Any]) -> dict[str, Any]:
    """What follows from an installation's steps: pauses in days, limits, what is due next, whose turn it is, what is odd."""
    steps, service = state["steps"], state.get("service")
    told: dict[str, Any] = {"pauses": [], "limits": limits_of(state), "provisional": False, "anomalies": _odd(state)}
    for begin in sorted({day_of(at) for at in state["paused"]}):
        if not stands_still(state, begin) or stands_still(state, begin - DAY):
            continue
        end = next((begin + DAY * n for n in range(4000) if not stands_still(state, begin + DAY * n)), None)
        told["pauses"].append({"from_on": str(begin)} | ({"to_on": str(end)} if end else {}))
    running = [x for x in told["limits"] if "ended_on" not in x and "due_on" in x]
    if running:
        due = min(running, key=lambda x: (x["due_on"], x["step"]))
        told |= {"due_step": due["step"], "provisional": due["provisional"]}
        told |= {"due_on": due["due_on"], "due_soon_from": due["due_soon_from"]}
    if "connected" not in steps and "cancelled" not in steps:
        place = max((STEPS.index(step) for step in steps), default=-1)
        following = STEPS[place + 1]
        if following == "permitted" and not _needs_permit(state):
            following = "works_started"
        waits = "authority" if following == "permitted" else "company"
        if following == "connected" and not in_season(service, day_of(steps[STEPS[place]])):
            waits = "season"
        last = max([(at, number) for number, step in enumerate(REPEATING) for at in state[step]], default=("", 1))
        told |= {"next_step": following, "waits_on": "applicant" if last[1] == 0 else waits}
    return told


def _needs_permit(state: dict[str, Any]) -> bool:
    return state.get("service") in ["water", "drainage", "power", "gas", "heat"] and state.get("customer_kind") != "resident"


def _odd(state: dict[str, Any]) -> list[str]:
    steps, found = state["steps"], set()
    usual = [(step, steps[step]) for step in STEPS[:-1] if step in steps]
    found |= {"not_accepted"} if usual and "accepted" not in steps else set()
    found |= {"connected_before_accepted"} if steps.get("connected", "~") < steps.get("accepted", "~") else set()
    works = [steps[step] for step in ("works_started", "works_done") if step in steps]
    found |= {"works_without_permit"} if works and _needs_permit(state) and steps.get("permitted", "~") > min(works) else set()
    found |= {"out_of_order"} if [at for _, at in usual] != sorted(at for _, at in usual) else set()
    found |= {"step_after_cancelled"} if any(at > steps.get("cancelled", "~") for _, at in usual) else set()
    standing = None
    for at, kind in sorted([(at, 0) for at in state["paused"]] + [(at, 1) for at in state["resumed"]]):
        if kind == 0 and standing is not None:
            found.add("paused_twice")
        elif kind == 1 and standing is None:
            found.add("resumed_without_pause")
        elif kind == 0:
            standing = at
        else:
            found |= {"step_while_paused"} if any(standing < step < at for _, step in usual) else set()
            standing = None
    found |= {"step_while_paused"} if standing is not None and any(step > standing for _, step in usual) else set()
    if "connected" in steps and not in_season(state.get("service"), day_of(steps["connected"])):
        found.add("connected_out_of_season")
    return [word for word in WORDS if word in found]


def presence(
    company: str, county: str, service: str, *, event_id: str, effective_on: str, recorded_at: str, level: str, handles: list[str]
) -> Event:
    """A presence report in normal form."""
    data = {
        "county": county, "company": company, "service": service, "level": level, "handles": sorted(handles),
        "effective_on": effective_on, "recorded_at": recorded_at,
    }  # fmt: skip
    return _event(PRESENCE_TYPE, f"{county}/{company}/{service}", event_id, data)


def window(company: str, county: str, service: str, month: str, *, event_id: str, recorded_at: str, **data: Any) -> Event:
    """A report of a window in normal form."""
    body = {
        "county": county,
        "company": company,
        "service": service,
        "month": month,
        "recorded_at": recorded_at,
        "operation": "upsert",
    }
    return _event(WINDOW_TYPE, f"{county}/{company}/{service}/{month}", event_id, body | data)


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
        events += [
            window(
                company, county, service, f"2024-0{rng.randint(3, 6)}", event_id=f"w{next(serial)}", recorded_at=moment(),
                operation=rng.choice(["upsert", "upsert", "retract"]), public_service_handled=rng.randint(0, 40),
            )
            for _ in range(rng.randint(0, 3))
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
                    case_no=rng.choice([None, f"C{number}"]), customer_kind=rng.choice(KINDS),
                )
            )  # fmt: skip
    rng.shuffle(events)
    return events
