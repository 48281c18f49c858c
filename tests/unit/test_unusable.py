"""When a consumer stops instead of parking what comes."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.unusable import FEWEST_TO_JUDGE, Limits, MostlyUnusable, Watch, option


class Record(NamedTuple):
    offset: int


def check(watch: Watch, expected: int, flags: list[bool], partition: int = 0) -> None:
    records = [Record(expected + place) for place in range(len(flags))]
    watch.check(partition, expected, records, {r.offset for r, bad in zip(records, flags, strict=True) if bad})


def stops(watch: Watch, expected: int, flags: list[bool], partition: int = 0) -> bool:
    try:
        check(watch, expected, flags, partition)
    except MostlyUnusable:
        return True
    return False


def test_over_half_of_a_batch_of_twenty_stops_it_and_less_does_not() -> None:
    watch = Watch(Limits(0.5, 0))
    assert not stops(watch, 0, [True] * 10 + [False] * 10)
    assert stops(watch, 20, [True] * 11 + [False] * 9)
    assert not stops(watch, 20, [True] * (FEWEST_TO_JUDGE - 1))
    assert not stops(Watch(Limits(1, 3)), 0, [True] * 5000)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.data(), st.integers(1, 8))
def test_a_run_is_counted_over_batches_however_they_are_cut_and_come_back(
    flags: list[bool], data: st.DataObject, limit: int
) -> None:
    longest = max(map(len, "".join("x" if flag else " " for flag in flags).split()), default=0)
    watch, start, stopped = Watch(Limits(0.99, limit)), 0, False
    while start < len(flags) and not stopped:
        end = data.draw(st.integers(start + 1, min(len(flags), start + FEWEST_TO_JUDGE - 1)))
        stopped = stops(watch, start, flags[start:end])
        assert stops(watch, start, flags[start:end]) == stopped  # it failed further on, and comes again
        start = end
    assert stopped == (longest >= limit)


def test_partitions_are_watched_each_by_itself_and_a_position_from_elsewhere_begins_anew() -> None:
    watch = Watch(Limits(0.99, 3))
    assert not stops(watch, 0, [True, True])
    assert not stops(watch, 2, [True, True], partition=1)
    assert not stops(watch, 7, [True, True])
    assert not stops(Watch(Limits(0.99, 0)), 0, [True] * 15)
    assert stops(watch, 9, [True])


def test_it_says_what_to_do() -> None:
    with pytest.raises(MostlyUnusable, match=r"20 of 20 records are unusable: find out what writes them.*--most-unusable 1"):
        check(Watch(), 0, [True] * 20)


def test_the_option_is_taken_out_of_the_arguments() -> None:
    assert option(["worker"]) == (["worker"], None)
    assert option(["worker", "--most-unusable", "1"]) == (["worker"], 1.0)
    for wrong in (["worker", "--most-unusable"], ["worker", "--most-unusable", "2"], ["--most-unusable", "x"]):
        with pytest.raises(ValueError, match="from 0 to 1"):
            option(wrong)
