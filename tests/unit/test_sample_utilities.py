"""The companies' reports come to the plan's table by the rules of presence alone, and installations stand where they should."""

from collections import Counter
from typing import Any

import orjson
import pytest

from deploy.local.sample import golden, season, utilities
from deploy.local.sample.installations import EACH_STAGE
from deploy.local.sample.utilities import CoLocation, Reports
from shared import counties
from shared.events.case import Operation
from shared.events.utility import INSTALLATION_TYPE, PRESENCE_TYPE, Installation, InstallationStep, Presence
from shared.verdicts import open_envelope, read_data


@pytest.fixture(scope="module")
def reports() -> Reports:
    return utilities.build(utilities.read_registry(), season.build().joint, season.SOURCE)


def test_the_reports_come_to_the_planned_table(reports: Reports) -> None:
    newest: dict[tuple[str, str, str, str], tuple[Any, Presence]] = {}
    for company, events in reports.pushes.items():
        for event in events:
            if event["type"] != PRESENCE_TYPE:
                continue
            data = read_data(Presence, *open_envelope(event))
            assert (data.company, event["source"]) == (company, f"urn:onething:company:{company}")
            key = (data.county, data.company, data.service, data.effective_on.isoformat())
            assert event["subject"] == "/".join(key[:3])
            rank = (data.recorded_at, event["id"])
            if key not in newest or rank > newest[key][0]:
                newest[key] = rank, data
    table = {}
    for unit in counties.ROSTER:
        pairs = [p for p in utilities.read_registry() if p.county == unit.code and p.valid_on(golden.AS_OF)]
        standing = []
        for pair in pairs:
            periods = [
                data
                for key, (_, data) in sorted(newest.items())
                if key[:3] == (pair.county, pair.company, pair.service) and data.effective_on <= golden.AS_OF
            ]
            if periods:
                standing.append(periods[-1])
        inside = [p for p in standing if p.level in ("comprehensive_window", "own_window") and len(p.handles) == 2]
        table[unit.code] = CoLocation(len(pairs), len(inside), all(p.level == "none" for p in standing))
    assert table == reports.expected


def test_two_units_have_nobody_in_the_hall_each_in_its_way(reports: Reports) -> None:
    nobody = [county for county, row in reports.expected.items() if row.none_at_all]
    assert sorted(nobody) == sorted(golden.NOBODY_IN_THE_HALL)
    levels = Counter(
        (event["data"]["county"], event["data"]["level"])
        for events in reports.pushes.values()
        for event in events
        if event["type"] == PRESENCE_TYPE and event["data"]["county"] in golden.NOBODY_IN_THE_HALL and event["id"].endswith("-2")
    )
    assert {county for county, _ in levels} == {"130630"}, "白沟新城 reports nothing at all"
    assert {level for _, level in levels} == {"none"}


def test_most_units_are_complete_and_some_partial(reports: Reports) -> None:
    complete = [c for c, row in reports.expected.items() if row.applicable == row.co_located]
    partial = [c for c, row in reports.expected.items() if 0 < row.co_located < row.applicable]
    assert len(complete) > 11
    assert len(partial) >= 5
    assert len(complete) + len(partial) == len(counties.ROSTER) - 2


def test_the_day_decides(reports: Reports) -> None:
    """Who left or came, and where the registry's validity ends, makes another table on another day."""
    changed = {
        county
        for county, row in utilities.expected(reports.plan, golden.AS_OF.replace(month=10, day=31)).items()
        if row != reports.expected[county]
    }
    assert {"130631", "130635"} <= changed
    assert reports.expected["130681"].co_located == reports.expected["130681"].applicable - 1


def test_installations_stand_at_every_stage(reports: Reports) -> None:
    last = Counter(i.happenings[-1].step for i in reports.installations if not i.deleted)
    assert set(last) == set(InstallationStep)
    assert sum(i.deleted for i in reports.installations) == EACH_STAGE
    joint = {event["data"]["case_no"] for i in reports.installations for event in i.events if "case_no" in event["data"]}
    assert joint <= {story.case_no for story in season.build().joint}
    assert len(joint) > 10


def test_installation_events_come_to_their_stories(reports: Reports) -> None:
    told: dict[str, list[tuple[Any, str, Installation]]] = {}
    for company, events in reports.pushes.items():
        for event in events:
            if event["type"] == INSTALLATION_TYPE:
                data = read_data(Installation, *open_envelope(event))
                assert data.company == company
                assert event["subject"] == data.installation_no
                told.setdefault(data.installation_no, []).append((data.recorded_at, event["id"], data))
    assert set(told) == {i.number for i in reports.installations}
    repeatable = (InstallationStep.PAUSED, InstallationStep.RESUMED)
    for installation in reports.installations:
        version = max(data.data_version for *_, data in told[installation.number])
        steps: dict[Any, Any] = {}
        deleted = False
        for *_, data in sorted((t for t in told[installation.number] if t[2].data_version == version), key=lambda t: t[:2]):
            deleted = data.operation is Operation.DELETE
            if not deleted:
                steps[(data.step, data.occurred_at) if data.step in repeatable else data.step] = data.occurred_at
        assert deleted == installation.deleted
        assert sorted(steps.values()) == sorted(h.at for h in installation.happenings)


def test_doubled_and_the_same_bytes_each_time(reports: Reports) -> None:
    again = utilities.build(utilities.read_registry(), season.build().joint, season.SOURCE)
    assert orjson.dumps(again.pushes) == orjson.dumps(reports.pushes)
    sendings = Counter(orjson.dumps(event) for events in reports.pushes.values() for event in events)
    assert set(sendings.values()) == {1, 2}
    assert 0.25 < sum(count == 2 for count in sendings.values()) / len(sendings) < 0.35
