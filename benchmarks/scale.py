"""From measured figures to what a province or the nation needs: the formulas of ``docs/scale.md``, nothing else."""

from dataclasses import dataclass
from typing import Any, Final

YEAR_SECONDS: Final = 365 * 86_400
WORKING_SECONDS: Final = 250 * 8 * 3600
"""A year's office hours, in which halls send what they send."""


@dataclass(frozen=True, slots=True)
class Demand:
    """How much a population brings. The assumptions are stated so that another reader can put in others."""

    name: str
    people: int
    counties: int
    items: int = 40
    cases_a_person_a_year: float = 0.5
    events_a_case: float = 4.0
    peak_over_mean: float = 10.0
    """The busiest minute over the mean of office hours."""
    years_kept: int = 5

    @property
    def cases_a_year(self) -> float:
        return self.people * self.cases_a_person_a_year

    @property
    def events_a_year(self) -> float:
        return self.cases_a_year * self.events_a_case

    @property
    def peak_per_second(self) -> float:
        return self.events_a_year / WORKING_SECONDS * self.peak_over_mean


CITY: Final = Demand("city", 11_000_000, 22)
PROVINCE: Final = Demand("province", 70_000_000, 180)
NATION: Final = Demand("nation", 1_410_000_000, 2_850)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run says of one event or case. CPU in microseconds, sizes in bytes."""

    events_per_second: float
    worker_cpu_us: float
    postgres_cpu_us: float
    kafka_cpu_us: float
    log_bytes_an_event: float
    wal_bytes_an_event: float
    stored_bytes_a_case: float

    @classmethod
    def of(cls, report: dict[str, Any]) -> "Measured":
        """The row of the worker in a report of ``./onething bench metrics --json``.

        Raises:
            KeyError: the report has no such row.
        """
        rows = {row["name"]: row for row in report["rows"]}
        worker = rows["worker"]
        cpu, stored = worker["cpu_us_per_event"], worker["database"]
        return cls(
            worker["events_per_second"],
            cpu["process"],
            cpu["postgres"],
            cpu["kafka"],
            report["workload"]["bytes_per_event_with_key_and_headers"],
            worker["wal_bytes_per_event"],
            (stored["cases_table"] + stored["cases_indexes"]) / stored["cases"],
        )


@dataclass(frozen=True, slots=True)
class Needs:
    """What a demand needs. Sizes in GB (10⁹ bytes), before replicas and copies."""

    peak_per_second: float
    cores_at_peak: float
    headroom: float
    """How often the peak fits into what was measured on one machine."""
    log_gb_a_year: float
    cases_gb_kept: float
    wal_mb_per_second_at_peak: float
    daily_counters_kept: float
    recount_hours: float
    """Counting the whole kept log again at the measured rate."""


def needs(demand: Demand, measured: Measured) -> Needs:
    """The formulas."""
    cpu = measured.worker_cpu_us + measured.postgres_cpu_us + measured.kafka_cpu_us
    return Needs(
        peak_per_second=demand.peak_per_second,
        cores_at_peak=demand.peak_per_second * cpu / 1e6,
        headroom=measured.events_per_second / demand.peak_per_second,
        log_gb_a_year=demand.events_a_year * measured.log_bytes_an_event / 1e9,
        cases_gb_kept=demand.cases_a_year * demand.years_kept * measured.stored_bytes_a_case / 1e9,
        wal_mb_per_second_at_peak=demand.peak_per_second * measured.wal_bytes_an_event / 1e6,
        daily_counters_kept=demand.counties * demand.items * 365.0 * demand.years_kept,
        recount_hours=demand.events_a_year * demand.years_kept / measured.events_per_second / 3600,
    )
