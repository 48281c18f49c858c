"""The benchmark's workload: events as intake publishes them, where Kafka puts them, and figures that the oracle finds too."""

from collections import Counter

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner

from benchmarks.load import FIRST_DAY, STEPS, Workload, encoded, partition_of, probe
from shared.events.case import CaseStep
from shared.events.envelope import Envelope, encode
from tests import oracle


def test_events_are_to_the_byte_what_intake_publishes() -> None:
    for event in Workload(seed=3, events=60, cases=20).events():
        content = orjson.loads(event.value)
        again = encode(Envelope.model_validate(content), CaseStep.model_validate(content["data"]))
        assert event.value == again
        assert 550 <= len(event.value) <= 750


def test_a_case_lies_where_kafkas_clients_put_its_key() -> None:
    choose = DefaultPartitioner()
    for event in Workload(seed=4, events=50, cases=50).events():
        assert event.case.partition == partition_of(event.key) == choose(event.key, list(range(8)), [])


@pytest.mark.parametrize("events", [1200, 1000, 801, 400])
def test_the_expected_figures_are_those_of_the_oracle(events: int) -> None:
    load = Workload(seed=5, events=events, cases=400)
    assert load.expected() == oracle.count([orjson.loads(event.value) for event in load.events()])


def test_figures_of_a_run_that_was_cut_are_those_of_what_was_told() -> None:
    load = Workload(seed=6, events=300, cases=100)
    told = [orjson.loads(event.value) for event in load.events()][:170]
    assert load.expected(170) == oracle.count(told)


def test_a_probe_moves_the_figures_it_says_alone() -> None:
    one = probe(9)
    assert Counter(one.cells()) == oracle.count([orjson.loads(one.event.value)])
    assert (one.day - FIRST_DAY).days == 9


def test_the_same_seed_gives_the_same_events_and_steps_lie_far_apart() -> None:
    one, two = (list(Workload(seed=8, events=90, cases=30).events()) for _ in range(2))
    assert one == two
    assert one != list(Workload(seed=9, events=90, cases=30).events())
    assert [event.step for event in one] == [step for step in range(len(STEPS)) for _ in range(30)]
    assert [event.case for event in one[:30]] != [event.case for event in one[30:60]]


def test_ids_differ_and_a_load_of_too_many_events_is_refused() -> None:
    events = list(Workload(seed=8, events=90, cases=30).events())
    assert len({orjson.loads(event.value)["id"] for event in events}) == 90
    assert encoded(events[0].case, 0, 1) != encoded(events[0].case, 0, 2)
    with pytest.raises(ValueError, match="91 events of 30 cases"):
        Workload(seed=8, events=91, cases=30)
