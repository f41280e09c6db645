"""Every metric of the coordinator: declared in one table, counted without locks, read when a scrape comes."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Labels: TypeAlias = tuple[str, ...]
Readings: TypeAlias = Mapping[str, Mapping[Labels, float]]

_SECONDS: Final = (
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0, 300.0,
)  # fmt: skip

MOST_PRINCIPALS: Final = 50
"""Principals that have a label of their own; those that come later share one."""

OTHERS: Final = "others"

PHASES: Final = ("wait", "decode", "plan", "run", "encode")


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric.

    Attributes:
        name: as it is exposed; a counter's ends in `_total`.
        kind: what Prometheus calls its type.
        help: what it tells, with its unit.
        labels: names of its labels.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()


TABLE: Final = (
    # --- requests ---
    Declared(
        "gradmesh_requests_total",
        "counter",
        "Calls that ended. outcome is ok or the class of the error; a NotFoundError is a client's cue to send more.",
        ("method", "outcome", "principal"),
    ),
    Declared("gradmesh_request_seconds", "histogram", "Time from a call's arrival to its reply.", ("method",)),
    Declared(
        "gradmesh_phase_seconds",
        "histogram",
        "Time of each phase of a Compute that succeeded: wait, decode, plan, run, encode.",
        ("phase",),
    ),
    Declared("gradmesh_received_bytes_total", "counter", "Bytes of messages that came in.", ("method",)),
    Declared("gradmesh_sent_bytes_total", "counter", "Bytes of messages that went out.", ("method",)),
    Declared("gradmesh_runs_total", "counter", "Programs run, by place: inline or workers.", ("where",)),
    # --- load ---
    Declared("gradmesh_requests_running", "gauge", "Compute requests that run now."),
    Declared("gradmesh_requests_waiting", "gauge", "Compute requests that wait for their turn."),
    Declared("gradmesh_requests_running_limit", "gauge", "Compute requests that may run at once."),
    Declared("gradmesh_requests_waiting_limit", "gauge", "Compute requests that may wait; more are refused."),
    Declared("gradmesh_serving", "gauge", "1 while requests are taken; 0 while draining or without a worker."),
    # --- workers ---
    Declared("gradmesh_workers", "gauge", "Workers there should be; 0 when all is computed in process."),
    Declared("gradmesh_workers_alive", "gauge", "Workers that can take work."),
    Declared("gradmesh_workers_busy", "gauge", "Workers that are working."),
    Declared("gradmesh_worker_restarts_total", "counter", "Workers started again after they died."),
    Declared("gradmesh_range_retries_total", "counter", "Ranges run again because a worker or its data was lost."),
    Declared("gradmesh_placed_bytes_total", "counter", "Bytes of inputs moved to workers."),
    # --- caches: graphs, plans, blobs ---
    Declared("gradmesh_cache_hits_total", "counter", "Found in a cache: graph, plan or blob.", ("cache",)),
    Declared("gradmesh_cache_misses_total", "counter", "Not found in a cache.", ("cache",)),
    Declared("gradmesh_cache_evictions_total", "counter", "Dropped from a cache to make room.", ("cache",)),
    Declared("gradmesh_cache_entries", "gauge", "Entries of a cache now.", ("cache",)),
    Declared("gradmesh_plans_made_total", "counter", "Plans that had to be made, by the reason.", ("reason",)),
    Declared("gradmesh_blob_bytes", "gauge", "Bytes of stored tensors and of uploads in progress."),
    Declared("gradmesh_blob_limit_bytes", "gauge", "Bytes of tensors that may be stored."),
    Declared("gradmesh_blob_evicted_bytes_total", "counter", "Bytes of tensors dropped to make room for others."),
    Declared("gradmesh_blob_uploads", "gauge", "Uploads in progress."),
    # --- the process ---
    Declared("gradmesh_info", "gauge", "Always 1.", ("version",)),
    Declared("gradmesh_start_time_seconds", "gauge", "When the coordinator started, in seconds since 1970."),
)


@dataclass(slots=True)
class CacheUse:
    """How often a cache had what was asked for, had it not, and dropped something to make room."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0


class Histogram:
    """Counts of observations per bucket, by label values. Written by one thread. Final."""

    def __init__(self) -> None:
        self._series: dict[Labels, list[float]] = {}

    def observe(self, labels: Labels, seconds: float) -> None:
        """Count one observation."""
        series = self._series.get(labels)
        if series is None:  # a count per bucket, one for what exceeds all, the sum
            series = self._series[labels] = [0.0] * (len(_SECONDS) + 2)
        series[bisect_left(_SECONDS, seconds)] += 1
        series[-1] += seconds

    def read(self) -> Iterator[tuple[Labels, list[tuple[str, float]], float]]:
        """Labels, cumulative count per upper bound, and sum of each series."""
        for labels, series in self._series.copy().items():
            counts = series.copy()
            total, buckets = 0.0, []
            for bound, count in zip((*map(str, _SECONDS), "+Inf"), counts[:-1], strict=True):
                total += count
                buckets.append((bound, total))
            yield labels, buckets, counts[-1]


class Metrics:
    """The table's values. Written on the event loop, read from any thread. Final.

    Args:
        readings: values kept elsewhere, asked for at each scrape: by name of the metric, by label values.
    """

    def __init__(self, readings: Callable[[], Readings]) -> None:
        self._readings = readings
        self._counters: dict[str, defaultdict[Labels, float]] = {}
        self._histograms: dict[str, Histogram] = {}
        self._principals: set[str] = set()

    def counter(self, name: str) -> defaultdict[Labels, float]:
        """The counter called `name`, by label values, to be added to."""
        assert any(metric.name == name and metric.kind == "counter" for metric in TABLE), name
        return self._counters.setdefault(name, defaultdict(float))

    def histogram(self, name: str) -> Histogram:
        """The histogram called `name`."""
        assert any(metric.name == name and metric.kind == "histogram" for metric in TABLE), name
        return self._histograms.setdefault(name, Histogram())

    def principal(self, name: str) -> str:
        """The label of a principal: its name, as long as there are not too many."""
        if name not in self._principals:
            if len(self._principals) >= MOST_PRINCIPALS:
                return OTHERS
            self._principals.add(name)
        return name

    def collect(self) -> Iterator[Any]:
        """The metrics as prometheus-client wants them; called for every scrape, from its thread."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        kept = self._readings()
        family: Any
        for metric in TABLE:
            if metric.kind == "histogram":
                family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                if metric.name in self._histograms:
                    for labels, buckets, total in self._histograms[metric.name].read():
                        family.add_metric(labels, buckets, total)
            else:
                make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = make(metric.name, metric.help, labels=metric.labels)
                values: dict[Labels, float] = {}
                if metric.name in self._counters:
                    values.update(self._counters[metric.name].copy())
                values.update(kept.get(metric.name, {}))
                for labels, value in values.items():
                    family.add_metric(labels, value)
            yield family
