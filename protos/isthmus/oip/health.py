"""gRPC's health service for one server, by hand: two calls of two messages.

The package grpcio-health-checking would put its messages into protobuf's default pool, and each of
its releases asks for a narrow range of protobuf versions.
"""

from functools import partial

import grpc

from isthmus.oip.handlers import SERVICE_NAME, Handler, serialised, unary
from isthmus.oip.messages import health_pb
from isthmus.oip.refusal import RefusalError
from isthmus.oip.service import Service
from isthmus.oip.wire import parsed

HEALTH_NAME = "grpc.health.v1.Health"

Context = grpc.aio.ServicerContext[health_pb.HealthCheckRequest, health_pb.HealthCheckResponse]

__all__ = ["HEALTH_NAME", "health_handler"]


def health_handler(service: Service) -> grpc.GenericRpcHandler:
    """Check and Watch for "" (the server) and for the inference service."""

    async def check(request: health_pb.HealthCheckRequest) -> health_pb.HealthCheckResponse:
        status = _status(service, request.service)
        if status == "SERVICE_UNKNOWN":
            raise RefusalError("NOT_FOUND", f"no service {request.service[:64]!r} here")
        return health_pb.HealthCheckResponse(status=status)

    async def watch(request: health_pb.HealthCheckRequest | None, context: Context) -> None:
        await _watch(service, "" if request is None else request.service, context)

    handlers: dict[str, Handler] = {
        "Check": unary(check, health_pb.HealthCheckRequest),
        "Watch": grpc.unary_stream_rpc_method_handler(
            watch,
            request_deserializer=partial(parsed, health_pb.HealthCheckRequest),
            response_serializer=serialised,
        ),
    }
    return grpc.method_handlers_generic_handler(HEALTH_NAME, handlers)


async def _watch(service: Service, name: str, context: Context) -> None:
    """Tell the status now and whenever it changes, until the server drains."""
    told = None
    while True:
        change = service.change
        status = _status(service, name)
        if status != told:
            await context.write(health_pb.HealthCheckResponse(status=status))
            told = status
        if service.draining.is_set():
            return
        await change.wait()


def _status(service: Service, name: str) -> str:
    if name not in {"", SERVICE_NAME}:
        return "SERVICE_UNKNOWN"
    return "SERVING" if service.is_ready else "NOT_SERVING"
