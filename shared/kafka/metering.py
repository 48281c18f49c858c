"""What a consumer shows of itself to Prometheus."""

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

from shared import meters

MEASURE_SECONDS: Final = 5.0
"""How often positions are held against the log's ends."""

_taken: Final = cache(meters.TAKEN.labels)
_age: Final = cache(meters.AGE.labels)


class Reached(NamedTuple):
    """The next offset wanted of a partition, and the one that its next record will get."""

    position: int
    end: int


class Metering:
    """The figures of one consumer: ``topic`` and ``group`` are its labels."""

    def __init__(self, topic: str, group: str) -> None:
        self._of = (topic, group)
        self._shown: set[int] = set()
        meters.HALTED.labels(*self._of).set(0)
        _taken(*self._of)

    def took(self, records: int, late: float) -> None:
        """A batch has committed, whose first record had been in the log for ``late`` seconds."""
        _taken(*self._of).inc(records)
        _age(*self._of).observe(late)

    def failed(self, error: Exception) -> None:
        """A batch was given up, or its position could not be read."""
        meters.FAILURES.labels(*self._of, type(error).__name__).inc()

    def halted(self) -> None:
        """The consumer stopped for good."""
        meters.HALTED.labels(*self._of).set(1)

    def show(self, partitions: Mapping[int, Reached]) -> None:
        """Shows how far each partition that we have is; those that went to another worker are shown there."""
        for number, reached in partitions.items():
            meters.POSITION.labels(*self._of, number).set(reached.position)
            meters.LAG.labels(*self._of, number).set(max(0, reached.end - reached.position))
        for gone in self._shown - partitions.keys():
            meters.POSITION.remove(*self._of, gone)
            meters.LAG.remove(*self._of, gone)
        self._shown = set(partitions)
