"""Prometheus metrics, aggregated over workers through files in a shared folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from serve.http.load import Load
from serve.models.served_model import ServedModel

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads this variable when it is imported


class Metrics:
    """Requests by route template and status, never by path: user ids never become labels."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._seconds = Histogram(
            "recsys_request_seconds", "Time from the arrival of a request to the end of its response.", labels,
            buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._requests = Counter("recsys_requests", "Requests answered.", labels, registry=self.registry)
        self._in_flight = Gauge(
            "recsys_requests_in_flight", "Requests in flight.", registry=self.registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self._model = Gauge(
            "recsys_model_workers", "Workers that serve this model version.", ("version", "model", "data"),
            registry=self.registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self._failed = Counter("recsys_failed_loads", "Bundles rejected.", registry=self.registry)
        self._swaps = Counter("recsys_swaps", "Models swapped in.", registry=self.registry)
        self._dropped = Counter(
            "recsys_log_lines_dropped", "Log lines that nobody read in time, or at all.", registry=self.registry
        )
        self._connections = Gauge(
            "recsys_connections", "Open connections.", registry=self.registry, multiprocess_mode="livesum"
        )
        self._shed = Counter(
            "recsys_requests_shed", "Requests sent away without being computed.", ("reason",), registry=self.registry
        )
        self._closed = Counter(
            "recsys_connections_closed", "Connections closed by a limit.", ("limit",), registry=self.registry
        )
        self._commits = Histogram(
            "recsys_commit_seconds", "Time to write events of waiting requests, until they are on disk.",
            buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._events = Counter("recsys_events", "New events, on disk.", registry=self.registry)
        self._repeated = Counter(
            "recsys_events_repeated", "Events sent again, which were on disk already.", registry=self.registry
        )
        self._events_waiting = Gauge(
            "recsys_events_waiting", "Events that wait to be written.", registry=self.registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self._answers = Counter(
            "recsys_answers", "Answers of routes whose answers are kept, by where they came from.", ("source",),
            registry=self.registry,
        )  # fmt: skip
        self._answer_bytes = Gauge(
            "recsys_answer_cache_bytes", "Memory that kept answers take.", registry=self.registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self._by_labels: dict[tuple[str, str, int], tuple[Histogram, Counter]] = {}
        self._serving: tuple[str, str, str] | None = None
        self._failed_before = self._dropped_before = 0

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        key = (method, route, status)
        children = self._by_labels.get(key)
        if children is None:  # labels() checks and locks each time
            values = (method, route, str(status))
            children = self._by_labels[key] = (self._seconds.labels(*values), self._requests.labels(*values))
        children[0].observe(seconds)
        children[1].inc()

    def report_load(self, connections: int) -> None:
        """Count what was refused since the last report, and what is open and in flight now."""
        self._connections.set(connections)
        self._in_flight.set(self.load.in_flight)
        for counter, counts in ((self._shed, self.load.shed), (self._closed, self.load.closed)):
            for reason, count in counts.items():  # few reasons, none of which is the client's
                counter.labels(reason).inc(count)
            counts.clear()

    def report_answers(self, counts: MutableMapping[str, int], kept_bytes: int) -> None:
        """Count the answers since the last report, by where they came from, and what those that are kept take now."""
        self._answer_bytes.set(kept_bytes)
        for source, count in counts.items():
            self._answers.labels(source).inc(count)
        counts.clear()

    def set_model(self, model: ServedModel, *, swapped: bool) -> None:
        manifest = model.bundle.manifest
        labels = (model.version, str(manifest.get("model")), str(manifest["data"]))
        if self._serving is not None and self._serving != labels:
            self._model.labels(*self._serving).set(0)
            if not self.is_shared:  # a file of the folder keeps its series
                self._model.remove(*self._serving)
        self._model.labels(*labels).set(1)
        self._serving = labels
        if swapped:
            self._swaps.inc()

    def observe_commit(self, new: int, repeated: int, seconds: float, waiting: int) -> None:
        self._commits.observe(seconds)
        self._events.inc(new)
        self._repeated.inc(repeated)
        self._events_waiting.set(waiting)

    def set_failed_loads(self, count: int) -> None:
        self._failed.inc(count - self._failed_before)
        self._failed_before = count

    def set_dropped_lines(self, count: int) -> None:
        self._dropped.inc(count - self._dropped_before)
        self._dropped_before = count

    @property
    def is_shared(self) -> bool:
        """Whether there are several workers, whose figures are in files."""
        return MULTIPROC_DIR in os.environ

    def text(self) -> bytes:
        """The metrics of all workers in Prometheus' text format."""
        self._in_flight.set(self.load.in_flight)
        folder = os.environ.get(MULTIPROC_DIR)
        if folder is None:
            return generate_latest(self.registry)
        for file in Path(folder).glob("gauge_live*_*.db"):
            process = file.stem.rpartition("_")[2]
            if process.isdecimal() and not _is_alive(int(process)):  # killed: it could not remove its own gauges
                with contextlib.suppress(OSError):  # another worker was faster
                    mark_process_dead(process, folder)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        _FolderCollector(registry, folder)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class _FolderCollector(MultiProcessCollector):
    """The files in the folder, but for what only has the name of one, such as a pipe."""

    def collect(self) -> Any:
        files = [str(file) for file in Path(self._path).glob("*.db") if file.is_file()]
        return self.merge(files, accumulate=True)  # type: ignore[no-untyped-call]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
