"""Prometheus metrics of the service; docs/observability.md lists them.

    metrics = PrometheusObserver(Levels(streams=lambda: …))
    metrics.deployed("lite0", "3f2a", ["input", "cut-16"])
    content_type, body = metrics.text(accept)

Labels are bounded: model, version, candidate and part come from deployments that were announced
by `deployed`, outcomes and reasons from short lists. What a stranger wrote is never a label, and
devices are none either, for there may be thousands of them: logs and traces name them.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version as installed_version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from isthmus_cloud.telemetry.happenings import (
    Activated,
    Audited,
    BatchRun,
    FrameDone,
    Happening,
    Refused,
    StreamClosed,
    StreamOpened,
)
from isthmus_cloud.telemetry.series import OTHER, Bounded, DeploymentSeries, Families, OfDeployment

MOST_REASONS = 32  # different words for why somebody was refused

__all__ = ["Levels", "PrometheusObserver"]


def _none() -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What is asked for whenever the metrics are read, from whatever thread reads them.

    `streams` are open, `sessions_parked` wait for their devices, `frames_waiting` for a worker;
    `bytes_in_flight` are those of all frames together.
    """

    streams: Callable[[], float] = _none
    sessions_parked: Callable[[], float] = _none
    frames_waiting: Callable[[], float] = _none
    bytes_in_flight: Callable[[], float] = _none


class PrometheusObserver:
    """Counts what happens, in a registry of its own; safe to use from any thread.

    What happens of a deployment that was not announced, or of a candidate that it does not have,
    is counted under the label "other".
    """

    def __init__(self, levels: Levels | None = None) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._families = Families(self.registry)
        self._families.build.labels(installed_version("isthmus")).set(1)
        self._refusals = Bounded(self._families.refusals, MOST_REASONS)
        self._lock = threading.Lock()
        self._deployments: dict[tuple[str, str], DeploymentSeries] = {}
        self._others = self._new_series((OTHER, OTHER), ())
        self._set_levels(levels or Levels())

    def deployed(self, model: str, version: str, candidates: Iterable[str]) -> None:
        """A version is served from now on; `candidates` are the ids of its manifest."""
        key = (model, version)
        with self._lock:
            if key not in self._deployments:
                self._deployments[key] = self._new_series(key, candidates)

    def retired(self, model: str, version: str) -> None:
        """It is not served any more: its series end, or each roll-out would add some."""
        with self._lock:
            series = self._deployments.pop((model, version), None)
        if series is not None:
            series.end()

    def note(self, happening: Happening) -> None:
        """See `Observer.note`."""
        match happening:
            case FrameDone():
                self._of(happening).frame(happening)
            case BatchRun():
                self._of(happening).batch(happening)
            case Audited():
                self._of(happening).audit(happening)
            case StreamOpened(resumed=resumed):
                self._of(happening).opened(resumed=resumed)
            case StreamClosed():
                self._of(happening).closed.inc()
            case Refused(why=why):
                self._refusals.child(why).inc()
            case Activated():
                self._activated(happening)

    def text(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body for a scraper whose Accept header this is: OpenMetrics where it
        asks for that, Prometheus' own text format otherwise."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self.registry)

    def _of(self, happening: OfDeployment) -> DeploymentSeries:
        return self._deployments.get((happening.model, happening.version), self._others)

    def _activated(self, happening: Activated) -> None:
        self._of(happening).activated()
        before = self._deployments.get((happening.model, happening.previous))
        if before is not None and happening.previous != happening.version:
            before.passive()

    def _new_series(self, key: tuple[str, str], candidates: Iterable[str]) -> DeploymentSeries:
        return DeploymentSeries(self._families, key, candidates)

    def _set_levels(self, levels: Levels) -> None:
        families = self._families
        families.streams.set_function(levels.streams)
        families.sessions_parked.set_function(levels.sessions_parked)
        families.frames_waiting.set_function(levels.frames_waiting)
        families.bytes_in_flight.set_function(levels.bytes_in_flight)
