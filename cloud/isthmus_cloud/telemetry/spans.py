"""The service's part of a frame's trace, as OpenTelemetry spans; needs `isthmus[telemetry]`.

    cloud.frame         child of the device's span of that frame, or a trace of its own
      queue, decode
      tail              one for each part that ran, linked to the batch that it was part of
    cloud.batch         a trace of its own, linked to the frames that ran together

A frame's spans are made when it has ended, with the times at which things happened: nothing is
measured for them, and a frame that is not traced costs one look at a string. The monotonic clock is
turned into time of day once for each frame, so a clock that jumps bends no span.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TracerProvider,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from isthmus.tracing import TraceContext, parse_traceparent
from isthmus_cloud.telemetry.happenings import BatchRun, FrameDone, Happening

MOST_PENDING = 4096  # frames whose parts have run and that have not ended
MOST_CHARACTERS = 100  # of what a stranger wrote
_NO_FAULT = frozenset({"answered", "cancelled", "key_frame_needed"})

__all__ = ["SpanObserver"]


@dataclass(frozen=True, slots=True)
class _Run:
    """A part that ran on a frame, among others; times of the monotonic clock."""

    part: str
    size: int
    begun_ns: int
    ended_ns: int
    batch: SpanContext


class SpanObserver:
    """Makes spans of frames and batches; from any thread.

    `now_ns` is the monotonic clock of `FrameDone.received_ns`, `time_ns` the time of day.
    """

    def __init__(
        self,
        provider: TracerProvider,
        now_ns: Callable[[], int] = time.monotonic_ns,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tracer = provider.get_tracer("isthmus.cloud")
        self._now_ns = now_ns
        self._time_ns = time_ns
        self._lock = threading.Lock()
        self._pending: OrderedDict[str, list[_Run]] = OrderedDict()  # by the frame's traceparent

    def note(self, happening: Happening) -> None:
        """See `Observer.note`."""
        match happening:
            case FrameDone():
                self._frame(happening)
            case BatchRun(traceparents=(_, *_)):
                self._batch(happening)

    def _frame(self, done: FrameDone) -> None:
        device = parse_traceparent(done.traceparent) if done.traceparent else None
        if device is not None and not device.is_sampled:
            return
        runs = self._runs_of(done.traceparent)
        day_ns = self._time_ns() - self._now_ns()
        span = self._tracer.start_span(
            "cloud.frame",
            context=Context() if device is None else _child_of(device),
            kind=SpanKind.SERVER,
            start_time=done.received_ns + day_ns,
        )
        if span.is_recording():
            span.set_attributes(_attributes(done))
            if done.outcome not in _NO_FAULT:
                span.set_status(Status(StatusCode.ERROR, _cut(done.outcome)))
            self._stages(done, runs, span, day_ns)
        span.end(done.received_ns + day_ns + _ns(done.total_ms))

    def _stages(self, done: FrameDone, runs: list[_Run], frame: Span, day_ns: int) -> None:
        """What the frame went through. Without a word of its parts, they were one after the
        other."""
        context = set_span_in_context(frame, Context())

        def stage(name: str, from_ns: int, to_ns: int, run: _Run | None = None) -> None:
            if to_ns > from_ns:
                span = self._tracer.start_span(
                    name,
                    context,
                    attributes=None if run is None else _run_attributes(run),
                    links=[Link(run.batch)] if run and run.batch.is_valid else [],
                    start_time=from_ns + day_ns,
                )
                span.end(to_ns + day_ns)

        begun_ns = done.received_ns + _ns(done.queue_ms)
        decoded_ns = begun_ns + _ns(done.decode_ms)
        stage("queue", done.received_ns, begun_ns)
        stage("decode", begun_ns, decoded_ns)
        if not runs:
            stage("tail", decoded_ns, decoded_ns + _ns(done.run_ms))
        for run in runs:
            stage("tail", run.begun_ns, run.ended_ns, run)

    def _batch(self, ran: BatchRun) -> None:
        members = [(text, parse_traceparent(text)) for text in ran.traceparents]
        traced = [(text, each) for text, each in members if each is not None and each.is_sampled]
        if not traced:
            return
        ended_ns = self._now_ns()
        begun_ns = ended_ns - _ns(ran.run_ms)
        day_ns = self._time_ns() - ended_ns
        span = self._tracer.start_span(
            "cloud.batch",
            context=Context(),
            links=[Link(_remote(each)) for _, each in traced],
            attributes=_batch_attributes(ran),
            start_time=begun_ns + day_ns,
        )
        span.end(ended_ns + day_ns)
        run = _Run(ran.part, ran.size, begun_ns, ended_ns, span.get_span_context())
        with self._lock:
            for text, _ in traced:
                self._pending.setdefault(text, []).append(run)
            while len(self._pending) > MOST_PENDING:
                self._pending.popitem(last=False)

    def _runs_of(self, traceparent: str) -> list[_Run]:
        if not self._pending:
            return []
        with self._lock:
            return self._pending.pop(traceparent, [])


def _remote(device: TraceContext) -> SpanContext:
    return SpanContext(
        device.trace_id, device.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )


def _child_of(device: TraceContext) -> Context:
    return set_span_in_context(NonRecordingSpan(_remote(device)), Context())


def _attributes(done: FrameDone) -> dict[str, AttributeValue]:
    return {
        "isthmus.identity": done.identity,
        "isthmus.session": done.session,
        "isthmus.model": done.model,
        "isthmus.version": done.version,
        "isthmus.sequence": done.sequence,
        "isthmus.candidate": _cut(done.candidate),
        "isthmus.rung": done.rung,
        "isthmus.outcome": _cut(done.outcome),
        "isthmus.payload_bytes": done.payload_bytes,
        "isthmus.answer_bytes": done.answer_bytes,
        "isthmus.batch": done.batch,
    }


def _batch_attributes(ran: BatchRun) -> dict[str, AttributeValue]:
    return {
        "isthmus.model": ran.model,
        "isthmus.version": ran.version,
        "isthmus.part": ran.part,
        "isthmus.provider": ran.provider,
        "isthmus.batch": ran.size,
        "isthmus.clients": ran.clients,
    }


def _run_attributes(run: _Run) -> dict[str, AttributeValue]:
    return {"isthmus.part": run.part, "isthmus.batch": run.size}


def _cut(text: str) -> str:
    return text[:MOST_CHARACTERS]


def _ns(ms: float) -> int:
    return int(ms * 1e6)
