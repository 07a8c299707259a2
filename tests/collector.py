"""An OTLP collector on the loopback."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as collector_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as collector_grpc

__all__ = ["Collector", "collecting"]


class Collector(collector_grpc.TraceServiceServicer):
    """Takes spans as a real one does; `endpoint` is its address."""

    def __init__(self) -> None:
        self.endpoint = ""
        self._requests: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        self._requests.append(request)
        return collector_pb.ExportTraceServiceResponse()

    @property
    def resources(self) -> list[dict[str, str]]:
        """Attributes of the processes that spans came from, a request after the other."""
        return [
            {each.key: each.value.string_value for each in spans.resource.attributes}
            for request in self._requests
            for spans in request.resource_spans
        ]

    @property
    def names(self) -> list[str]:
        """Those of all spans, sorted."""
        return sorted(
            span.name
            for request in self._requests
            for spans in request.resource_spans
            for scope in spans.scope_spans
            for span in scope.spans
        )


@contextmanager
def collecting() -> Iterator[Collector]:
    """One that listens as long as the context lasts."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(1))
    add = collector_grpc.add_TraceServiceServicer_to_server
    add(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    collector.endpoint = f"http://127.0.0.1:{port}"
    try:
        yield collector
    finally:
        server.stop(None).wait()
