"""gRPC's health service for one server, by hand: two calls of two messages.

The package grpcio-health-checking would put its messages into protobuf's default pool, and each of
its releases asks for a narrow range of protobuf versions.
"""

import asyncio
from functools import partial
from typing import Literal, Protocol

import grpc

from isthmus.oip.handlers import SERVICE_NAME, Handler, serialised, unary
from isthmus.oip.messages import health_pb
from isthmus.oip.refusal import RefusalError
from isthmus.oip.service import Service
from isthmus.oip.wire import parsed

HEALTH_NAME = "grpc.health.v1.Health"
MOST_WATCHERS = 128  # at once; a probe that asks again and again takes no place

Status = Literal["SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]
Context = grpc.aio.ServicerContext[health_pb.HealthCheckRequest, health_pb.HealthCheckResponse]

__all__ = ["HEALTH_NAME", "MOST_WATCHERS", "HealthSource", "Status", "handler_of", "health_handler"]


class HealthSource(Protocol):
    """Who knows how a server is; used on its event loop."""

    @property
    def change(self) -> asyncio.Event:
        """Set, and replaced by another one, when a status has changed."""

    @property
    def draining(self) -> asyncio.Event:
        """Set when the server is about to end: then nothing changes any more."""

    def status(self, name: str) -> Status:
        """Of one service, by its full name, or of the server as a whole ("")."""


def health_handler(service: Service) -> grpc.GenericRpcHandler:
    """Check and Watch for "" (the server) and for the inference service."""
    return handler_of(_Inference(service))


def handler_of(source: HealthSource) -> grpc.GenericRpcHandler:
    """Check and Watch for what `source` knows; `MOST_WATCHERS` may watch at once."""
    watching = 0

    async def check(request: health_pb.HealthCheckRequest) -> health_pb.HealthCheckResponse:
        status = source.status(request.service)
        if status == "SERVICE_UNKNOWN":
            raise RefusalError("NOT_FOUND", f"no service {request.service[:64]!r} here")
        return health_pb.HealthCheckResponse(status=status)

    async def watch(request: health_pb.HealthCheckRequest | None, context: Context) -> None:
        nonlocal watching
        if watching >= MOST_WATCHERS:
            text = f"{MOST_WATCHERS} watch already, which is the most; ask with Check"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        watching += 1
        try:
            await _watch(source, "" if request is None else request.service, context)
        finally:
            watching -= 1

    handlers: dict[str, Handler] = {
        "Check": unary(check, health_pb.HealthCheckRequest),
        "Watch": grpc.unary_stream_rpc_method_handler(
            watch,
            request_deserializer=partial(parsed, health_pb.HealthCheckRequest),
            response_serializer=serialised,
        ),
    }
    return grpc.method_handlers_generic_handler(HEALTH_NAME, handlers)


async def _watch(source: HealthSource, name: str, context: Context) -> None:
    """Tell the status now and whenever it changes, until the server drains."""
    told = None
    while True:
        change, is_last = source.change, source.draining.is_set()
        status = source.status(name)
        if status != told:
            await context.write(health_pb.HealthCheckResponse(status=status))
            told = status
        if is_last:  # it may have begun to drain during the write: then there is more to tell
            return
        await change.wait()


class _Inference:
    """The health of a server that serves the Open Inference Protocol and nothing else."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def change(self) -> asyncio.Event:
        return self._service.change

    @property
    def draining(self) -> asyncio.Event:
        return self._service.draining

    def status(self, name: str) -> Status:
        if name not in {"", SERVICE_NAME}:
            return "SERVICE_UNKNOWN"
        return "SERVING" if self._service.is_ready else "NOT_SERVING"
