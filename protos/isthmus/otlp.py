"""OpenTelemetry's SDK with its OTLP exporter; needs `isthmus[telemetry]`.

Loaded by `isthmus.tracing.span_export` alone, so that who does not trace pays nothing for it. Spans
are sent from a thread of the SDK's own, out of a bounded queue: a collector that is slow or gone
costs spans, never frames. Headers and certificates of the exporter come from OpenTelemetry's own
environment variables (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_CERTIFICATE`, …), more
attributes of the process from `OTEL_RESOURCE_ATTRIBUTES`.
"""

import threading
from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from isthmus.tracing import TraceSettings

EXPORT_S = 5.0  # for one batch of spans; what is not taken by then is dropped
CLOSE_S = 3.0  # for what is left at the end

__all__ = ["SpanExport", "sampler"]


class SpanExport:
    """A tracer provider of this process's own, until `close`; the global one is left alone."""

    def __init__(self, settings: TraceSettings, service: str) -> None:
        resource = Resource.create({"service.name": service, "service.version": version("isthmus")})
        self.provider = TracerProvider(
            sampler=sampler(settings.share), resource=resource, shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=EXPORT_S)
        self.provider.add_span_processor(BatchSpanProcessor(exporter))

    def close(self) -> None:
        """Send what is left, for at most 3 s (`CLOSE_S`), and end; it blocks, so use a thread."""
        closing = threading.Thread(target=self.provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def sampler(share: float) -> Sampler:
    """By the parent where there is one; else `share` of them, and who links to a sampled one."""
    return ParentBased(_Share(share))


class _Share(Sampler):
    """For spans that begin a trace. A batch of frames begins one of its own and links to them."""

    def __init__(self, share: float) -> None:
        self._share = TraceIdRatioBased(share)

    def should_sample(  # noqa: PLR0913, PLR0917 - as OpenTelemetry calls it
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `opentelemetry.sdk.trace.sampling.Sampler`."""
        if any(link.context.trace_flags.sampled for link in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return self._share.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """See `opentelemetry.sdk.trace.sampling.Sampler`."""
        return f"LinkedOr{self._share.get_description()}"
