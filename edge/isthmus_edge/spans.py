"""The device's part of a frame's trace, as OpenTelemetry spans; needs `isthmus[telemetry]`.

    frame               child of the caller's span, if it has one
      wait              until the device turned to the frame
      head, encode      the network up to the cut, and from its tensors to bytes
      link              from sending to hearing of the answer; cloud.frame is within it
      rest              the network behind the cut on this device, where the cloud did not answer

Only the frame's own span exists while the frame is under way, for the cloud's spans hang from it.
The others are made when it has ended, from times that the agent takes anyway.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.util.types import AttributeValue

from isthmus import Candidate
from isthmus.tracing import TraceContext, TraceSettings, format_traceparent, span_export
from isthmus_edge.ledger import Outcome
from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.underway import Ending

MOST_CHARACTERS = 200  # of an error's text

__all__ = ["SpanTracing", "exported", "of_application"]


def of_application() -> "SpanTracing":
    """Spans of the tracer provider that the application has set up, before or later."""
    return SpanTracing(trace.get_tracer_provider())


def exported(settings: TraceSettings) -> "SpanTracing":
    """Spans that leave for a collector; what is left is sent at the end."""
    export = span_export(settings, "isthmus-edge")
    return SpanTracing(export.provider, export.close)


@dataclass(frozen=True, slots=True)
class _Open:
    """A frame's own span; `day_s` is the time of day less the monotonic clock, when it began."""

    span: Span
    traceparent: str
    day_s: float


class SpanTracing:
    """One agent's; see `FrameTracing`. `end` is called when the agent has closed, on a thread."""

    def __init__(self, provider: TracerProvider, end: Callable[[], None] | None = None) -> None:
        self._tracer = provider.get_tracer("isthmus.edge")
        self._end = end
        self._open: dict[int, _Open] = {}

    def begin(self, frame: Frame) -> None:
        """See `FrameTracing`."""
        day_s = time.time() - time.monotonic()
        span = self._tracer.start_span(
            "frame", kind=SpanKind.CLIENT, start_time=_ns(frame.accepted_at + day_s)
        )
        if span.is_recording():
            self._open[frame.sequence] = _Open(span, _traceparent(span), day_s)

    def traceparent(self, frame: Frame) -> str:
        """See `FrameTracing`."""
        found = self._open.get(frame.sequence)
        return "" if found is None else found.traceparent

    def answered(self, frame: Frame, candidate: Candidate, ending: Ending) -> None:
        """See `FrameTracing`."""
        found = self._open.pop(frame.sequence, None)
        if found is None:
            return
        found.span.set_attributes(
            {
                "isthmus.candidate": candidate.id,
                "isthmus.rung": candidate.chosen,
                "isthmus.outcome": "answered",
                "isthmus.place": ending.place,
            }
        )
        self._finish(found, frame, ending)

    def failed(self, frame: Frame, outcome: Outcome, error: Exception | None = None) -> None:
        """See `FrameTracing`."""
        found = self._open.pop(frame.sequence, None)
        if found is None:
            return
        found.span.set_attribute("isthmus.outcome", outcome)
        if outcome == "error":
            text = str(error)[:MOST_CHARACTERS]
            found.span.set_status(Status(StatusCode.ERROR, text))
        self._finish(found, frame, None)

    async def close(self) -> None:
        """See `FrameTracing`."""
        for found in self._open.values():
            found.span.set_status(Status(StatusCode.ERROR, "the agent was closed"))
            found.span.end()
        self._open.clear()
        if self._end is not None:
            await asyncio.to_thread(self._end)

    def _finish(self, found: _Open, frame: Frame, ending: Ending | None) -> None:
        now_s = time.monotonic()
        context = trace.set_span_in_context(found.span, Context())
        for name, from_s, to_s, attributes in _steps(frame, ending, now_s):
            step = self._tracer.start_span(
                name, context, attributes=attributes, start_time=_ns(from_s + found.day_s)
            )
            step.end(_ns(to_s + found.day_s))
        found.span.set_attribute("isthmus.sequence", frame.sequence)
        if frame.payload_bytes:
            found.span.set_attribute("isthmus.payload_bytes", frame.payload_bytes)
        if frame.deadline_ms is not None:
            found.span.set_attribute("isthmus.deadline_ms", frame.deadline_ms)
        found.span.end(_ns(now_s + found.day_s))


_Step = tuple[str, float, float, dict[str, AttributeValue]]


def _steps(frame: Frame, ending: Ending | None, now_s: float) -> list[_Step]:
    """The steps that a frame took until `now_s`: name, begin and end on the monotonic clock."""
    if not frame.begun_at:
        return [("wait", frame.accepted_at, now_s, {})]
    steps: list[_Step] = [("wait", frame.accepted_at, frame.begun_at, {})]
    if frame.head_ms is not None and frame.computed_at:
        encoded_s = (frame.encode_ms or 0.0) / 1e3
        head_end = frame.computed_at - encoded_s
        head_at = max(head_end - frame.head_ms / 1e3, frame.begun_at)
        steps.append(("head", head_at, head_end, {}))
        if frame.encode_ms is not None:
            steps.append(("encode", head_end, frame.computed_at, {}))
    if frame.sent_at:
        steps.append(("link", frame.sent_at, now_s, _of_link(frame, ending)))
    if ending is not None and ending.place == "device" and frame.cut is not None:
        steps.append(("rest", now_s - ending.rest_ms / 1e3, now_s, {}))
    return steps


def _of_link(frame: Frame, ending: Ending | None) -> dict[str, AttributeValue]:
    """Bytes, and how long the cloud had it of that time."""
    attributes: dict[str, AttributeValue] = {"isthmus.payload_bytes": frame.payload_bytes}
    if ending is not None and ending.result is not None:
        attributes["isthmus.cloud_ms"] = round(ending.result.timing.total_ms, 3)
    return attributes


def _traceparent(span: Span) -> str:
    context = span.get_span_context()
    if not context.trace_flags.sampled:
        return ""
    return format_traceparent(
        TraceContext(trace_id=context.trace_id, span_id=context.span_id, is_sampled=True)
    )


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
