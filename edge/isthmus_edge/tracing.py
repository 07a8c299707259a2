"""The seam to tracing: each frame is the root of a tree of spans that ends in the cloud's tail.

Off, which is the default, it costs two calls of empty functions a frame, and OpenTelemetry is not
loaded. `isthmus_edge.spans` is what it is when it is on.
"""

from typing import Protocol

from isthmus import Candidate
from isthmus.tracing import trace_settings
from isthmus_edge.ledger import Outcome
from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.underway import Ending

__all__ = ["FrameTracing", "NoTracing", "tracing_of"]


class FrameTracing(Protocol):
    """Told of each frame when it is accepted and when it has ended; used on the agent's loop."""

    def begin(self, frame: Frame) -> None:
        """It was accepted. What is current in OpenTelemetry's context is the caller's span."""

    def traceparent(self, frame: Frame) -> str:
        """What the frame's message says of its span; "" if nobody records it."""

    def answered(self, frame: Frame, candidate: Candidate, ending: Ending) -> None:
        """It ended in an answer."""

    def failed(self, frame: Frame, outcome: Outcome, error: Exception | None = None) -> None:
        """It ended without one."""

    async def close(self) -> None:
        """No frame comes any more; those that have not ended never will."""


class NoTracing:
    """Nobody wants to know."""

    def begin(self, frame: Frame) -> None:
        """See `FrameTracing`."""

    def traceparent(self, frame: Frame) -> str:
        """See `FrameTracing`."""
        return ""

    def answered(self, frame: Frame, candidate: Candidate, ending: Ending) -> None:
        """See `FrameTracing`."""

    def failed(self, frame: Frame, outcome: Outcome, error: Exception | None = None) -> None:
        """See `FrameTracing`."""

    async def close(self) -> None:
        """See `FrameTracing`."""


def tracing_of(traces: str | None, share: float) -> FrameTracing:
    """What `AgentConfig.traces` asks for: off (None), spans of the tracer provider that this
    program has set up ("application"), or an OTLP collector's address."""
    if traces is None:
        return NoTracing()
    from isthmus_edge.spans import exported, of_application  # noqa: PLC0415 (an extra)

    settings = trace_settings(traces, share)
    return of_application() if settings is None else exported(settings)
