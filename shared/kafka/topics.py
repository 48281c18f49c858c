"""Names of the topics, and how each is kept (CONTRACT §3)."""

from dataclasses import dataclass
from typing import Final

PARTITIONS: Final = 8
"""Fixed at creation: a key's partition must never change, for one case has one writer."""

SEVEN_DAYS_MS: Final = 7 * 24 * 3600 * 1000
FOR_EVER: Final = -1

SMALL_SEGMENT: Final = 16 * 1024 * 1024
"""Whoever follows `county-metrics` reads it whole first, and only segments that are full are compacted: Kafka's usual gigabyte
would be minutes of old totals."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How one topic is created. ``config`` holds Kafka's own topic settings."""

    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class Topics:
    """The six names and those of the consumer groups, under a prefix that tests change."""

    prefix: str = "onething"

    @property
    def province_push(self) -> str:
        return f"{self.prefix}.province-push.v1"

    @property
    def case_events(self) -> str:
        return f"{self.prefix}.case-events.v1"

    @property
    def utility_events(self) -> str:
        return f"{self.prefix}.utility-events.v1"

    @property
    def progress(self) -> str:
        return f"{self.prefix}.progress.v1"

    @property
    def county_metrics(self) -> str:
        return f"{self.prefix}.county-metrics.v1"

    @property
    def parked(self) -> str:
        return f"{self.prefix}.parked.v1"

    def group(self, reader: str) -> str:
        """The consumer group of ``reader``, as ``onething-metrics``. Two prefixes on one broker share none: members of one group
        have each other begin anew whenever one comes or goes, whatever topics they read."""
        return f"{self.prefix}-{reader}"

    def specs(self, partitions: int = PARTITIONS) -> tuple[TopicSpec, ...]:
        """Every topic with its settings. Events are kept for ever: they are the log of record. Of `county-metrics` there is one
        partition whatever ``partitions`` says: its order is what its readers follow."""
        kept = {"retention.ms": str(FOR_EVER), "cleanup.policy": "delete"}
        compacted = {"cleanup.policy": "compact"}
        soon = compacted | {"segment.bytes": str(SMALL_SEGMENT), "min.cleanable.dirty.ratio": "0.1"}
        return (
            TopicSpec(self.province_push, partitions, {"retention.ms": str(SEVEN_DAYS_MS), "cleanup.policy": "delete"}),
            TopicSpec(self.case_events, partitions, kept),
            TopicSpec(self.utility_events, partitions, kept),
            TopicSpec(self.progress, partitions, compacted),
            TopicSpec(self.county_metrics, 1, soon),
            TopicSpec(self.parked, partitions, kept),
        )
