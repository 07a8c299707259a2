"""The metric families of the service, and their children for one deployment, looked up once.

`labels()` of the client library takes a lock and builds tuples of texts; a frame must not pay for
that. So a deployment holds its children, by candidate and by part, and a frame costs one dictionary
look-up and a handful of additions.
"""

import threading
from collections.abc import Iterable
from typing import TypeAlias, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.telemetry.happenings import (
    Audited,
    BatchRun,
    CallLost,
    FrameDone,
    StreamClosed,
    StreamOpened,
)

OTHER = "other"
ANSWERED = "answered"
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
BYTES = tuple(float(2**power) for power in range(8, 25, 2))  # 256 B to 16 MiB
ITEMS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
MOST_PARTS = 64  # of one deployment: a plan has a few
_CODES = pb.ErrorCode.DESCRIPTOR.values_by_name
OUTCOMES = frozenset({ANSWERED, *(name.removeprefix("ERROR_CODE_").lower() for name in _CODES)})

_DEPLOYMENT = ("model", "version")
_CANDIDATE = (*_DEPLOYMENT, "candidate")
_PART = (*_DEPLOYMENT, "part")

OfDeployment: TypeAlias = FrameDone | BatchRun | Audited | StreamOpened | StreamClosed | CallLost
Metric = TypeVar("Metric", bound=MetricWrapperBase)

__all__ = ["OTHER", "Bounded", "DeploymentSeries", "Families", "OfDeployment"]


class Families:
    """Every family, in one registry. Times are in seconds, as Prometheus' rules want them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, labels: Iterable[str] = ()) -> Counter:
            return Counter(f"isthmus_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
            return Gauge(f"isthmus_{name}", text, labels, registry=registry)

        def histogram(
            name: str, text: str, labels: Iterable[str], buckets: tuple[float, ...]
        ) -> Histogram:
            return Histogram(f"isthmus_{name}", text, labels, registry=registry, buckets=buckets)

        self.frames = counter("frames", "Frames that ended.", (*_CANDIDATE, "outcome"))
        self.up = histogram("frame_up_bytes", "Payload of a frame.", _CANDIDATE, BYTES)
        self.down = histogram("frame_down_bytes", "Size of an answer.", _CANDIDATE, BYTES)
        self.queue = histogram("queue_seconds", "What a frame waited.", _CANDIDATE, SECONDS)
        self.decode = histogram("decode_seconds", "From bytes to tensors.", _CANDIDATE, SECONDS)
        self.tail = histogram(
            "tail_seconds", "Runs that a frame took part in.", _CANDIDATE, SECONDS
        )
        self.total = histogram("frame_seconds", "From arrival to answer.", _CANDIDATE, SECONDS)
        self.batch_items = histogram("batch_items", "Frames that ran together.", _PART, ITEMS)
        self.batch_clients = histogram("batch_clients", "Sessions in a batch.", _PART, ITEMS)
        self.part = histogram("part_run_seconds", "A run of one part of a tail.", _PART, SECONDS)
        self.audits = counter("audits", "Answers compared.", (*_DEPLOYMENT, "verdict"))
        self.opened = counter("streams_opened", "Devices welcomed.", (*_DEPLOYMENT, "resumed"))
        self.closed = counter("streams_closed", "Streams that ended.", _DEPLOYMENT)
        self.activations = counter("activations", "Versions made the active one.", _DEPLOYMENT)
        self.active = gauge("active", "1 for the version that new devices get.", _DEPLOYMENT)
        self.refusals = counter("refusals", "Calls that were turned away.", ("why",))
        self.streams = gauge("streams", "Streams that are open.")
        self.sessions_parked = gauge("sessions_parked", "Sessions whose stream broke, kept.")
        self.frames_waiting = gauge("frames_waiting", "Frames that no worker has begun.")
        self.bytes_in_flight = gauge("bytes_in_flight", "Memory that frames in flight count for.")
        self.replicas = gauge("replicas", "Replicas that this front end knows.")
        self.calls_lost = counter("replica_calls_lost", "Calls lost with a replica.", _DEPLOYMENT)
        self.build = gauge("build_info", "1; the label is the version.", ("isthmus",))


class Bounded:
    """Children of a counter with one label, at most so many; what comes behind them is "other"."""

    def __init__(self, family: Counter, most: int) -> None:
        self._family = family
        self._most = most
        self._lock = threading.Lock()
        self._children: dict[str, Counter] = {}

    def child(self, value: str) -> Counter:
        """For this label, or for "other"."""
        found = self._children.get(value)
        return self._made(value) if found is None else found

    def _made(self, value: str) -> Counter:
        with self._lock:
            if value not in self._children and len(self._children) >= self._most:
                value = OTHER
            if value not in self._children:
                self._children[value] = self._family.labels(value)
            return self._children[value]


class _CandidateSeries:
    """What frames of one candidate are counted in."""

    def __init__(self, owner: "DeploymentSeries", candidate: str) -> None:
        families = owner.families
        self._owner = owner
        self._candidate = candidate
        self._outcomes = {ANSWERED: owner.child(families.frames, candidate, ANSWERED)}
        self._up = owner.child(families.up, candidate)
        self._down = owner.child(families.down, candidate)
        self._queue = owner.child(families.queue, candidate)
        self._decode = owner.child(families.decode, candidate)
        self._tail = owner.child(families.tail, candidate)
        self._total = owner.child(families.total, candidate)

    def note(self, done: FrameDone) -> None:
        """Times are those of answered frames. One that was late has done nothing but wait."""
        (self._outcomes.get(done.outcome) or self._outcome(done.outcome)).inc()
        self._up.observe(done.payload_bytes)
        if done.outcome == "too_late":
            self._queue.observe(done.total_ms / 1e3)
        if done.outcome == ANSWERED:
            self._queue.observe(done.queue_ms / 1e3)
            self._down.observe(done.answer_bytes)
            self._decode.observe(done.decode_ms / 1e3)
            self._tail.observe(done.run_ms / 1e3)
            self._total.observe(done.total_ms / 1e3)

    def _outcome(self, outcome: str) -> Counter:
        """Few frames end otherwise than answered, so that these children are made when needed."""
        known = outcome if outcome in OUTCOMES else OTHER
        found = self._owner.child(self._owner.families.frames, self._candidate, known)
        self._outcomes[known] = found
        return found


class _PartSeries:
    """What the runs of one part of a tail are counted in."""

    def __init__(self, owner: "DeploymentSeries", part: str) -> None:
        families = owner.families
        self._items = owner.child(families.batch_items, part)
        self._clients = owner.child(families.batch_clients, part)
        self._run = owner.child(families.part, part)

    def note(self, run: BatchRun) -> None:
        self._items.observe(run.size)
        self._clients.observe(run.clients)
        self._run.observe(run.run_ms / 1e3)


class DeploymentSeries:
    """The children of one version of one model; `end` removes them.

    Of the candidates that are named all children are there at once; others share "other".
    """

    def __init__(self, families: Families, key: tuple[str, str], candidates: Iterable[str]) -> None:
        self.families = families
        self._key = key
        self._lock = threading.RLock()
        self._made: set[tuple[MetricWrapperBase, tuple[str, ...]]] = set()
        self._is_over = False
        self._candidates = {each: _CandidateSeries(self, each) for each in candidates}
        self._parts: dict[str, _PartSeries] = {}
        self._verdicts: dict[str, Counter] = {}
        self._opened: dict[bool, Counter] = {}
        self.closed = self.child(families.closed)
        self.calls_lost = self.child(families.calls_lost)

    def frame(self, done: FrameDone) -> None:
        """A frame of this deployment ended."""
        known = self._candidates
        (known.get(done.candidate) or known.get(OTHER) or self._other_candidate()).note(done)

    def batch(self, run: BatchRun) -> None:
        """A part of a tail ran."""
        (self._parts.get(run.part) or self._parts.get(OTHER) or self._new_part(run.part)).note(run)

    def audit(self, audited: Audited) -> None:
        """An answer was compared, or could not be."""
        verdict = "uncompared"
        if audited.compared:
            verdict = "agree" if audited.agrees else "disagree"
        found = self._verdicts.get(verdict)
        if found is None:
            found = self._verdicts[verdict] = self.child(self.families.audits, verdict)
        found.inc()

    def opened(self, *, resumed: bool) -> None:
        """A device was welcomed."""
        found = self._opened.get(resumed)
        if found is None:
            text = str(resumed).lower()
            found = self._opened[resumed] = self.child(self.families.opened, text)
        found.inc()

    def activated(self) -> None:
        """It is the active version from now on."""
        self.child(self.families.activations).inc()
        self.child(self.families.active).set(1)

    def passive(self) -> None:
        """Another version is, or none."""
        self.child(self.families.active).set(0)

    def end(self) -> None:
        """Take its children out of the registry; whoever still counts in them does no harm."""
        with self._lock:
            self._is_over = True
            for family, values in self._made:
                family.remove(*values)
            self._made.clear()

    def child(self, family: Metric, *labels: str) -> Metric:
        """The child of this deployment with these labels behind its own; made if need be."""
        values = (*self._key, *labels)
        with self._lock:
            found = family.labels(*values)
            if self._is_over:
                family.remove(*values)
            else:
                self._made.add((family, values))
            return found

    def _other_candidate(self) -> _CandidateSeries:
        with self._lock:
            return self._candidates.setdefault(OTHER, _CandidateSeries(self, OTHER))

    def _new_part(self, part: str) -> _PartSeries:
        with self._lock:
            name = part if len(self._parts) < MOST_PARTS else OTHER
            return self._parts.setdefault(name, _PartSeries(self, name))
