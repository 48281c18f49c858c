"""Totals of the counters: ``cn.onething.county-metric.v1`` on ``county-metrics``, compacted, keyed by the counter.

A reader that has the newest record of each key has the whole picture: every unit of the roster, every live item, every
measure, zeros included.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from shared.events.case import CountyCode
from shared.events.envelope import WireModel
from shared.events.times import Instant

TYPE: Final = "cn.onething.county-metric.v1"
SOURCE: Final = "urn:onething:metrics"

Measure = Literal[
    "handled", "applied", "accepted", "completed", "completed_on_time", "not_accepted", "returned", "withdrawn", "online"
]


class CountyMetric(WireModel):
    """One counter: ``total`` is over all business days.

    ``version`` only ever rises, also after the database was restored or rebuilt: of two records of a counter the one with the
    greater version is right, whatever their order. ``changed_at`` is when the total was found to be another.
    """

    county: CountyCode
    item: Annotated[str, Field(min_length=1, max_length=64)]
    measure: Measure
    total: int
    version: int = Field(ge=1)
    changed_at: Instant

    @property
    def key(self) -> str:
        return key(self.county, self.item, self.measure)


def key(county: str, item: str, measure: str) -> str:
    """The counter's key on the topic, e.g. ``130607|disabled-service|handled``."""
    return f"{county}|{item}|{measure}"
