"""When a consumer stops instead of parking the world: too large a share of a batch, or too many in a row, is no poison.

Poison is a bad record among good ones; it is parked, and the rest goes on. Where hardly anything is good, the fault is the
writer's or ours, and parking it all would hide it: nothing is taken until somebody has looked.
"""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol

FEWEST_TO_JUDGE: Final = 20
"""A batch of fewer records is too small to tell a share by."""

OPTION: Final = "--most-unusable"


class MostlyUnusable(Exception):
    """Parking these records would hide a fault. Nothing was taken; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``share``: the greatest part of a batch that may be unusable; 1 lets everything be parked, whatever comes in a row.

    ``in_a_row``: as many unusable records of a partition one after another, over however many batches, are too many; 0 is no limit.
    """

    share: float = 0.5
    in_a_row: int = 200


class Placed(Protocol):
    """A record that knows its offset."""

    @property
    def offset(self) -> int: ...


class Watch:
    """Watches one consumer's batches. How many came in a row is remembered while the process lives."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._runs: dict[Hashable, dict[int, int]] = {}

    def check(self, partition: Hashable, expected: int, records: Sequence[Placed], unusable: Collection[int]) -> None:
        """Passes a batch of ``partition`` from the offset ``expected`` on; ``unusable`` are the offsets that cannot be used.

        A batch that comes back after a failure is judged as it was the first time.

        Raises:
            MostlyUnusable: park nothing of it.
        """
        if self._limits.share >= 1:
            return
        if len(records) >= FEWEST_TO_JUDGE and len(unusable) > self._limits.share * len(records):
            raise _halt(f"{len(unusable)} of {len(records)} records are unusable")
        before = self._runs.get(partition, {}).get(expected, 0)
        longest, last = _runs(before, [record.offset in unusable for record in records]) if unusable else (0, 0)
        if 0 < self._limits.in_a_row <= longest:
            raise _halt(f"{longest} records in a row are unusable")
        self._runs[partition] = {expected: before, records[-1].offset + 1: last}


def _runs(before: int, unusable: Sequence[bool]) -> tuple[int, int]:
    """The longest run of unusable records and the last one, after ``before`` of them."""
    longest = last = before
    for is_unusable, run in groupby(unusable):
        last = last + sum(1 for _ in run) if is_unusable else 0
        longest = max(longest, last)
    return longest, last


def _halt(what: str) -> MostlyUnusable:
    return MostlyUnusable(
        f"{what}: find out what writes them. To have them parked and go on, start again with {OPTION} 1 (ONETHING_MOST_UNUSABLE=1)"
    )


def option(arguments: Sequence[str]) -> tuple[list[str], float | None]:
    """``arguments`` without ``--most-unusable SHARE``, and the share; ``None`` where it is not given.

    Raises:
        ValueError: the share is none; the message says what is.
    """
    given = list(arguments)
    if OPTION not in given:
        return given, None
    place = given.index(OPTION)
    try:
        share = float(given[place + 1])
        if not 0 <= share <= 1:
            raise ValueError
    except (IndexError, ValueError):
        raise ValueError(f"{OPTION} takes a share from 0 to 1, e.g. {OPTION} 1") from None
    return given[:place] + given[place + 2 :], share
