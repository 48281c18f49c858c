"""Every metric of every process, declared once: the code counts with these, and ``docs/metrics.md`` is made of them.

A process shows those that name it and no others: a worker's figure that stood at 0 in an api would be a lie. So none is in the
client's own registry; :func:`registry` gives each process its own.

Names follow Prometheus' conventions: base units, ``_total`` for what only rises. A label's values are few and never people's:
topics, partitions, routes' templates, reasons, codes of counties and items.
"""

import platform
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, Literal

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from shared import __version__

Process = Literal["intake api", "intake worker", "utilities api", "utilities worker", "metrics api", "metrics worker"]

PROCESSES: Final[tuple[Process, ...]] = (
    "intake api", "intake worker", "utilities api", "utilities worker", "metrics api", "metrics worker",
)  # fmt: skip
WORKERS: Final[tuple[Process, ...]] = ("intake worker", "utilities worker", "metrics worker")
EDGES: Final[tuple[Process, ...]] = ("intake api", "utilities api")
_TELLING: Final[tuple[Process, ...]] = ("utilities worker",)
_COUNTING: Final[tuple[Process, ...]] = ("metrics worker",)
_READING: Final[tuple[Process, ...]] = ("metrics api",)

REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
AGE_BUCKETS: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)
"""Freshness is promised in fractions of a second (1.5 s from the push to the page); a backlog is read in minutes and hours."""

# A series `…_created` beside each of a counter's and a histogram's would double what is scraped, and nothing asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Entry:
    """One metric. ``name`` is as Prometheus shows it; ``unit`` is in words; ``where`` are the processes that show it."""

    metric: Counter | Gauge | Histogram
    kind: Literal["counter", "gauge", "histogram"]
    name: str
    labels: tuple[str, ...]
    unit: str
    help: str
    where: tuple[Process, ...]


CATALOGUE: Final[list[Entry]] = []


def _counter(name: str, help: str, labels: Collection[str] = (), *, unit: str, where: tuple[Process, ...]) -> Counter:
    made = Counter(name, help, labels, registry=None)
    CATALOGUE.append(Entry(made, "counter", name, tuple(labels), unit, help, where))
    return made


def _gauge(name: str, help: str, labels: Collection[str] = (), *, unit: str, where: tuple[Process, ...]) -> Gauge:
    made = Gauge(name, help, labels, registry=None)
    CATALOGUE.append(Entry(made, "gauge", name, tuple(labels), unit, help, where))
    return made


def _histogram(
    name: str, help: str, labels: Collection[str] = (), *, buckets: tuple[float, ...], where: tuple[Process, ...]
) -> Histogram:
    made = Histogram(name, help, labels, buckets=buckets, registry=None)
    CATALOGUE.append(Entry(made, "histogram", name, tuple(labels), "seconds", help, where))
    return made


# Every process.

BUILD: Final = _gauge(
    "onething_build_info", "Always 1: which process this is, of which release, on which Python.", ["process", "version", "python"],
    unit="1", where=PROCESSES,
)  # fmt: skip
READY: Final = _gauge(
    "onething_ready", "1 while a part of readiness holds, as /readyz has it; 0 while it does not. Looked at when it is scraped.",
    ["check"], unit="0 or 1", where=PROCESSES,
)  # fmt: skip
REQUESTS: Final = _histogram(
    "onething_request_seconds", "From a request's head to its answer's head, by the route's template (`none`: no such route).",
    ["method", "route", "status"], buckets=REQUEST_BUCKETS, where=PROCESSES,
)  # fmt: skip
CONNECTIONS: Final = _gauge(
    "onething_postgres_connections", "Connections of a pool: busy, idle, and the most that it may open.", ["application", "state"],
    unit="connections", where=PROCESSES,
)  # fmt: skip
FILE_BROKEN: Final = _gauge(
    "onething_file_broken", "1 while a watched file cannot be read and its former content is in force.", ["file"],
    unit="0 or 1", where=(*EDGES, "intake worker"),
)  # fmt: skip

# Workers: what every consumer shows.

TAKEN: Final = _counter(
    "onething_consumer_records_total", "Records of a topic that were taken: their transaction had committed.", ["topic", "group"],
    unit="records", where=WORKERS,
)  # fmt: skip
AGE: Final = _histogram(
    "onething_consumer_age_seconds",
    "How old each batch's oldest record was when the batch had committed: from its acceptance (its time in the log) on.",
    ["topic", "group"], buckets=AGE_BUCKETS, where=WORKERS,
)  # fmt: skip
POSITION: Final = _gauge(
    "onething_consumer_position", "The next offset wanted, as it is stored; of the partitions that this process has.",
    ["topic", "group", "partition"], unit="offset", where=WORKERS,
)  # fmt: skip
LAG: Final = _gauge(
    "onething_consumer_lag", "Offsets between the position and the log's end, of the partitions that this process has.",
    ["topic", "group", "partition"], unit="offsets", where=WORKERS,
)  # fmt: skip
HALTED: Final = _gauge(
    "onething_consumer_halted", "1 after a consumer stopped because going on would be wrong; /readyz says why.", ["topic", "group"],
    unit="0 or 1", where=WORKERS,
)  # fmt: skip
FAILURES: Final = _counter(
    "onething_consumer_failures_total",
    "Batches given up and read again, by the kind of error. `Fenced`: another worker had taken the partition on; harmless.",
    ["topic", "group", "error"], unit="batches", where=WORKERS,
)  # fmt: skip
PARKED: Final = _counter(
    "onething_parked_total", "What could not be used and was parked, by why. Parked again after a crash, it counts again.",
    ["service", "reason"], unit="records", where=("intake api", "utilities api", *WORKERS),
)  # fmt: skip

# The push edges.

EVENTS: Final = _counter(
    "onething_push_events_total",
    "Pushed events: accepted, rejected, sandbox, or unavailable (not known to be stored).", ["service", "outcome"],
    unit="events", where=(*EDGES, "intake worker"),
)  # fmt: skip
IGNORED_FIELDS: Final = _counter(
    "onething_push_ignored_fields_total", "Unknown fields left out of pushed events.", ["service"],
    unit="fields", where=(*EDGES, "intake worker"),
)  # fmt: skip
REFUSED: Final = _counter(
    "onething_push_refused_total", "Requests refused before their events were judged, by the problem.", ["service", "problem"],
    unit="requests", where=EDGES,
)  # fmt: skip
IN_FLIGHT: Final = _gauge(
    "onething_push_bytes_in_flight", "Bytes of bodies received and not yet answered.", ["service"], unit="bytes", where=EDGES
)

# Intake: the index of the log, and what is parked.

INDEXED_TO_AGE: Final = _gauge(
    "onething_intake_index_age_seconds",
    "How long ago the index was last known to be whole.",
    unit="seconds",
    where=("intake worker",),
)
PARKED_OPEN: Final = _gauge(
    "onething_intake_parked_open",
    "Parked records of all services that wait for somebody: neither replayed nor sent again rightly. Every worker shows the same.",
    ["service", "reason"], unit="records", where=("intake worker",),
)  # fmt: skip
REPLAYED: Final = _counter(
    "onething_intake_replayed_total", "Parked records that were replayed.", unit="records", where=("intake api",)
)

# Utilities.

UNREADABLE_CASES: Final = _counter(
    "onething_utilities_case_events_unreadable_total", "Case events that could not be read here; metrics parks them.",
    unit="records", where=_TELLING,
)  # fmt: skip
SNAPSHOTS: Final = _counter(
    "onething_utilities_snapshots_total",
    "Snapshots published to progress.",
    ["kind"],
    unit="snapshots",
    where=_TELLING,
)
SNAPSHOTS_WAITING: Final = _gauge(
    "onething_utilities_snapshots_waiting", "Snapshots not yet published. Every worker shows the same.", ["kind"],
    unit="snapshots", where=_TELLING,
)  # fmt: skip

# Metrics: counting and telling.

DELTAS_WAITING: Final = _gauge(
    "onething_metrics_deltas_waiting", "Batches that are counted and not yet folded into the counters that readers see.",
    unit="batches", where=_COUNTING,
)  # fmt: skip
TOTALS: Final = _counter("onething_metrics_totals_total", "Totals published to county-metrics.", unit="totals", where=_COUNTING)
TOTALS_ASTRAY: Final = _counter(
    "onething_metrics_totals_astray_total", "Totals that stood on county-metrics otherwise than told: told again.",
    unit="totals", where=_COUNTING,
)  # fmt: skip
TOTALS_WAITING: Final = _gauge(
    "onething_metrics_totals_waiting", "Totals that changed and are not yet published.", unit="totals", where=_COUNTING
)
TOTALS_DELAY: Final = _gauge(
    "onething_metrics_totals_delay_seconds", "How long the oldest of them has waited; 0 when none waits.", unit="seconds",
    where=_COUNTING,
)  # fmt: skip

SOURCE_RECORDED: Final = _gauge(
    "onething_metrics_source_recorded_timestamp_seconds",
    "The latest moment at which a source recorded anything that is counted. Every worker shows the same.", ["source"],
    unit="seconds since the epoch", where=_COUNTING,
)  # fmt: skip
SOURCE_HEARD: Final = _gauge(
    "onething_metrics_source_heard_timestamp_seconds",
    "When an event of a source was last counted. Every worker shows the same.", ["source"],
    unit="seconds since the epoch", where=_COUNTING,
)  # fmt: skip

# Metrics: the periodic check. One worker does it, whoever holds the lock; the others show NaN, or no series at all.

DRIFT: Final = _gauge(
    "onething_metrics_drift", "Counters that differ from a recount of the cases. NaN: another worker checks.",
    unit="counters", where=_COUNTING,
)  # fmt: skip
CHECKED: Final = _gauge(
    "onething_metrics_consistency_checked", "Cases that the last check looked at. NaN: another worker checks.",
    unit="cases", where=_COUNTING,
)  # fmt: skip
CHECKED_AT: Final = _gauge(
    "onething_metrics_consistency_timestamp_seconds", "When the last check ended. NaN: another worker checks.",
    unit="seconds since the epoch", where=_COUNTING,
)  # fmt: skip
DAYS_WITHOUT: Final = _gauge(
    "onething_metrics_days_without_case",
    "Days from the business day of a unit's last handled case of an item to today; where it never had one, from the item's"
    " first case in the city. An item without any case has no series. One worker shows it: the one that checks.",
    ["item", "item_name", "county", "county_name"], unit="days", where=_COUNTING,
)  # fmt: skip
INSTALLATIONS: Final = _gauge(
    "onething_metrics_installations",
    "Installations in progress today, and of those overdue or due soon, by utility. One worker shows it: the one that checks.",
    ["utility", "state"], unit="installations", where=_COUNTING,
)  # fmt: skip

# Metrics: the stream.

STREAM_CLIENTS: Final = _gauge("onething_metrics_stream_clients", "Clients that follow /v1/stream.", unit="clients", where=_READING)
STREAM_CUT: Final = _counter(
    "onething_metrics_stream_cut_total", "Clients that were cut, by why.", ["reason"], unit="clients", where=_READING
)
STREAM_UNREADABLE: Final = _counter(
    "onething_metrics_stream_unreadable_total", "Records of county-metrics that are none of a counter's total.",
    unit="records", where=_READING,
)  # fmt: skip


def registry(process: Process) -> CollectorRegistry:
    """What ``/metrics`` of a process shows: its metrics, and the client's own of the process and its Python."""
    made = CollectorRegistry(auto_describe=False)
    collectors: list[Any] = [entry.metric for entry in CATALOGUE if process in entry.where]
    for collector in (*collectors, PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        made.register(collector)
    BUILD.labels(process, __version__, platform.python_version()).set(1)
    return made
