"""Prometheus metrics of the service; docs/observability.md lists them.

    metrics = PrometheusObserver()
    core = Core(config, Observers([metrics, …]))
    metrics.watch(Levels(streams=lambda: core.streams, …))
    content_type, body = metrics.text(accept)

Labels are bounded: model, version, candidate and part come from versions that were activated, and
go when they are retired; outcomes and reasons come from short lists. What a stranger wrote is never
a label, and devices are none either, for there may be thousands of them: logs and traces name them.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version as installed_version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from isthmus_cloud.telemetry.happenings import (
    Activated,
    Audited,
    BatchRun,
    CallLost,
    FrameDone,
    Happening,
    Refused,
    Retired,
    StreamClosed,
    StreamOpened,
    Unloaded,
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
    `bytes_in_flight` are those of all frames together; `replicas` are those that run elsewhere.
    """

    streams: Callable[[], float] = _none
    sessions_parked: Callable[[], float] = _none
    frames_waiting: Callable[[], float] = _none
    bytes_in_flight: Callable[[], float] = _none
    replicas: Callable[[], float] = _none


class PrometheusObserver:
    """Counts what happens, in a registry of its own; safe to use from any thread.

    What happens of a version that was never activated, or of a candidate that it does not have, is
    counted under the label "other".
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._families = Families(self.registry)
        self._families.build.labels(installed_version("isthmus")).set(1)
        self._refusals = Bounded(self._families.refusals, MOST_REASONS)
        self._lock = threading.Lock()
        self._deployments: dict[tuple[str, str], DeploymentSeries] = {}
        self._others = DeploymentSeries(self._families, (OTHER, OTHER), ())
        self.watch(Levels())

    def watch(self, levels: Levels) -> None:
        """Ask these from now on."""
        families = self._families
        families.streams.set_function(levels.streams)
        families.sessions_parked.set_function(levels.sessions_parked)
        families.frames_waiting.set_function(levels.frames_waiting)
        families.bytes_in_flight.set_function(levels.bytes_in_flight)
        families.replicas.set_function(levels.replicas)

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
            case CallLost():
                self._of(happening).calls_lost.inc()
            case Refused(why=why):
                self._refusals.child(why).inc()
            case Activated() | Unloaded() | Retired():
                self._moved(happening)

    def text(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body for a scraper whose Accept header this is: OpenMetrics where it
        asks for that, Prometheus' own text format otherwise."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self.registry)

    def _of(self, happening: OfDeployment) -> DeploymentSeries:
        return self._deployments.get((happening.model, happening.version), self._others)

    def _moved(self, happening: Activated | Unloaded | Retired) -> None:
        match happening:
            case Activated():
                self._activated(happening)
            case Unloaded():
                self._unloaded(happening)
            case Retired(model=model, version=version):
                self._retired((model, version))

    def _activated(self, activated: Activated) -> None:
        key = (activated.model, activated.version)
        with self._lock:
            now = self._deployments.get(key)
            if now is None:
                now = DeploymentSeries(self._families, key, activated.candidates)
                self._deployments[key] = now
            before = self._deployments.get((activated.model, activated.previous))
        if before is not None:
            before.passive()
        now.activated()

    def _unloaded(self, unloaded: Unloaded) -> None:
        series = self._deployments.get((unloaded.model, unloaded.version))
        if series is not None:
            series.passive()

    def _retired(self, key: tuple[str, str]) -> None:
        """Its series end, or each roll-out would add some."""
        with self._lock:
            series = self._deployments.pop(key, None)
        if series is not None:
            series.end()
