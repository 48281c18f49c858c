"""The sample season comes to the published figures by the merge rules alone, written here once more in a few lines."""

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest

from deploy.local.sample import golden, people, season
from deploy.local.sample.golden import Figures
from deploy.local.sample.season import Season
from deploy.local.sample.telling import Event
from shared import counties
from shared.clock import SHANGHAI, business_day
from shared.events.case import TYPE, CaseStep, Operation, Step
from shared.verdicts import Refusal, open_envelope, read_data, refuse_future, require

NOW = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def sample() -> Season:
    return season.build()


def usable(event: Event) -> CaseStep | None:
    """The event's data if the wire model takes it; ``None`` if it must be refused."""
    try:
        envelope, data = open_envelope(event)
        step = read_data(CaseStep, envelope, data)
        refuse_future(step, NOW, "occurred_at", "recorded_at")
        require(envelope.source == season.SOURCE and envelope.type == TYPE, "not-entitled", "/source", "")
        require(envelope.subject == step.case_no, "invalid", "/subject", "")
    except Refusal:
        return None
    return step


Merged = dict[str, Any]
"""A case: ``steps`` to the instant of each, and its attributes."""


def merge(events: Iterable[Event]) -> dict[str, Merged]:
    """Every case that is not deleted, by the rules of CONTRACT §2."""
    told: dict[str, list[tuple[datetime, str, CaseStep]]] = defaultdict(list)
    for event in events:
        if (data := usable(event)) is not None:
            told[data.case_no].append((data.recorded_at, event["id"], data))
    cases: dict[str, Merged] = {}
    for case_no, all_versions in told.items():
        newest = max(data.data_version for *_, data in all_versions)
        case: Merged = {"steps": {}}
        deleted = False
        # In the order of recording the later one simply overwrites: each field is a last-writer-wins register.
        for *_, data in sorted((t for t in all_versions if t[2].data_version == newest), key=lambda t: t[:2]):
            case |= data.model_dump(include={"county", "item", "channel", "promised_on", "services"}, exclude_none=True)
            deleted = data.operation is Operation.DELETE
            if data.operation is Operation.UPSERT:
                case["steps"][data.step] = data.occurred_at
            elif data.operation is Operation.RETRACT:
                case["steps"].pop(data.step, None)
        if not deleted:
            cases[case_no] = case
    return cases


def figures(
    cases: Iterable[Merged], as_of: date = golden.AS_OF, day_of: Callable[[datetime], date] = business_day
) -> dict[str, dict[str, Figures]]:
    """Handled and completed by item, then county; only those that are not both zero."""
    handled: Counter[tuple[str, str]] = Counter()
    completed: Counter[tuple[str, str]] = Counter()
    for case in cases:
        days = {step: day_of(at) for step, at in case["steps"].items()}
        if "county" not in case or "item" not in case or not days:
            continue
        place = case["item"], case["county"]
        handled[place] += min(days.values()) <= as_of
        completed[place] += Step.COMPLETED in days and days[Step.COMPLETED] <= as_of
    found: dict[str, dict[str, Figures]] = defaultdict(dict)
    for (item, county), count in handled.items():
        if count or completed[item, county]:
            found[item][county] = Figures(count, completed[item, county])
    return found


def nonzero(rows: dict[str, Figures]) -> dict[str, Figures]:
    return {county: row for county, row in rows.items() if row != Figures()}


def test_the_events_come_to_the_golden_table(sample: Season) -> None:
    rows = figures(merge(push.event for push in sample.pushes).values())[golden.ITEM]
    assert rows == nonzero(golden.GOLDEN)
    table = [rows.get(county.code, Figures()) for county in counties.ROSTER]
    assert sum(row.handled for row in table) == golden.TOTAL == 615
    assert max(table, key=lambda row: row.handled) == rows[golden.LEADER] == Figures(163, 149)
    assert f"{163 / 615:.1%}" == golden.LEADER_SHARE
    assert sum(row.handled < 10 for row in table) == golden.UNDER_TEN == 12
    assert sum(row.handled == 0 for row in table) == golden.AT_ZERO == 4


def test_every_item_comes_to_its_plan(sample: Season) -> None:
    found = figures(merge(push.event for push in sample.pushes).values())
    assert found == {item: nonzero(rows) for item, rows in sample.planned.items()}
    assert len(found) == 6


def test_order_and_repetition_change_nothing(sample: Season) -> None:
    events = [push.event for push in sample.pushes] * 2
    random.Random(7).shuffle(events)
    assert merge(events) == merge(push.event for push in sample.pushes)


def test_breaking_any_rule_would_show(sample: Season) -> None:
    """Counting without one of the rules gives another table: so the sample puts that rule to the test."""
    events = [push.event for push in sample.pushes]
    right = nonzero(golden.GOLDEN)

    def table(changed: Iterable[Event]) -> dict[str, Figures]:
        return figures(merge(changed).values())[golden.ITEM]

    def without(name: str) -> list[Event]:
        return [event | {"data": {k: v for k, v in event["data"].items() if k != name}} for event in events]

    assert table(events) == right
    assert table(e for e in events if e["data"].get("operation") != "delete") != right
    assert table(e for e in events if e["data"].get("operation") != "retract") != right
    assert table(e for e in events if e["id"].endswith("-01")) != right
    assert table(without("data_version")) != right
    assert table(e | {"id": "same", "time": "2024-01-01T00:00:00Z"} for e in without("recorded_at")) != right
    assert figures(merge(events).values(), date(2024, 10, 31))[golden.ITEM] != right
    assert figures(merge(events).values(), day_of=lambda at: at.astimezone(UTC).date())[golden.ITEM] != right


def test_the_noise_is_there_in_the_measure_that_was_asked_for(sample: Season) -> None:
    assert all(sample.ways[way.__name__] >= 10 for way in season.WAYS)
    assert sample.ways["entered_by_mistake"] >= 10
    sendings = Counter(orjson.dumps(push.event) for push in sample.pushes)
    assert set(sendings.values()) == {1, 2}
    assert 0.27 < sum(count == 2 for count in sendings.values()) / len(sendings) < 0.33
    assert 0.13 < sum(push.via == "kafka" for push in sample.pushes) / len(sample.pushes) < 0.17
    ids = [push.event["id"] for push in sample.pushes]
    assert len(set(ids)) == len(sendings), "one id, two contents"


def test_what_must_be_refused_is_counted_by_its_way(sample: Season) -> None:
    refused = Counter(push.via for push in sample.pushes if usable(push.event) is None)
    assert refused == sample.unusable
    assert refused["http"] >= 5


def test_times_are_the_trades(sample: Season) -> None:
    """Steps rise in time; what needs the office happens in its hours, on working days."""
    for case in merge(push.event for push in sample.pushes).values():
        moments = list(case["steps"].values())
        assert all(at.astimezone(SHANGHAI).date() >= golden.FIRST_DAY for at in moments)
        if (done := case["steps"].get(Step.COMPLETED)) and (begun := case["steps"].get(Step.APPLIED)):
            assert begun < done
            assert (
                done.astimezone(SHANGHAI).weekday() < 5
                or f"{done.astimezone(SHANGHAI):%m-%d}" in "04-07 04-28 05-11 09-14 09-29 10-12"
            )


def test_the_same_bytes_each_time_whatever_the_hash_seed() -> None:
    code = (
        "import hashlib, orjson; from deploy.local.sample import season;"
        "print(hashlib.sha256(orjson.dumps([list(p) for p in season.build().pushes])).hexdigest())"
    )
    here = hashlib.sha256(orjson.dumps([list(push) for push in season.build().pushes])).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here


def test_another_seed_tells_another_season_of_the_same_figures() -> None:
    other = season.build(seed=1)
    rows = figures(merge(push.event for push in other.pushes).values())[golden.ITEM]
    assert rows == nonzero(golden.GOLDEN)
    assert other.pushes != season.build().pushes


def test_applicants_look_real_and_belong_to_nobody(sample: Season) -> None:
    found = [push.event["data"]["applicant"] for push in sample.pushes if "applicant" in push.event["data"]]
    assert len(found) > 1000
    for applicant in found:
        number = applicant["id_number"]
        assert len(number) == 18
        values = [10 if digit == "X" else int(digit) for digit in number]
        # GB 11643 by its other definition: ISO 7064 MOD 11-2, the weighted sum with the check digit is 1 modulo 11.
        assert sum(value * 2 ** (17 - place) for place, value in enumerate(values)) % 11 == 1
        assert number.startswith("990000")
    assert people.applicant("a") == people.applicant("a") != people.applicant("b")
