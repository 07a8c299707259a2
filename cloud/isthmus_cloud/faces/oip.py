"""The Open Inference Protocol on the service's port, behind the same door."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import grpc

from isthmus.oip import Service
from isthmus.oip.handlers import SERVICE_NAME, inference_handler
from isthmus.tracing import parse_traceparent
from isthmus_cloud.faces.callers import Refused, aborting, caller_of
from isthmus_cloud.oip.counted import Asker
from isthmus_cloud.oip.models import CALLER
from isthmus_cloud.security import DeniedError, Guard, Identity
from isthmus_cloud.security.identity import Role

Handler = Any  # grpc.RpcMethodHandler, which is generic for type checkers only
Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Awaitable[Any]]

LAST_WRITE_S = 1.0

_OPEN = {"ServerLive", "ServerReady"}  # probes have no token
_OPERATORS = {"RepositoryModelLoad", "RepositoryModelUnload"}
_ITEMS = {"ModelInfer"}

__all__ = ["oip_face"]


def oip_face(service: Service, guard: Guard, refused: Refused) -> grpc.GenericRpcHandler:
    """What `grpc.aio.Server.add_generic_rpc_handlers` takes. Who may come in is asked first: a
    device may ask for answers, an operator may also load and unload; each request for an answer
    counts as a frame, each stream as a stream. `refused` hears of who is turned away: identity,
    why, peer."""
    return _Guarded(inference_handler(service), guard, refused)


class _Guarded(grpc.GenericRpcHandler):
    def __init__(self, inner: grpc.GenericRpcHandler, guard: Guard, refused: Refused) -> None:
        self._inner = inner
        self._guard = guard
        self._refused = refused

    def service(self, details: grpc.HandlerCallDetails) -> Handler:
        handler: Handler = self._inner.service(details)
        method = str(details.method).removeprefix(f"/{SERVICE_NAME}/")
        if handler is None or method in _OPEN:
            return handler
        role: Role = "operator" if method in _OPERATORS else "device"
        if handler.stream_stream is not None:
            behaviour = self._stream(handler.stream_stream)
            kind = grpc.stream_stream_rpc_method_handler
        else:
            behaviour = self._unary(handler.unary_unary, role, counts=method in _ITEMS)
            kind = grpc.unary_unary_rpc_method_handler
        return kind(
            behaviour,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _admitted(self, context: Context, role: Role) -> Identity:
        caller = caller_of(context)
        identity = self._guard.admit(caller, role)
        traceparent = caller.metadata.get("traceparent", "")
        known = traceparent if parse_traceparent(traceparent) else ""
        CALLER.set(Asker(identity.name, caller.peer, known))
        return identity

    def _unary(self, inner: Behaviour, role: Role, *, counts: bool) -> Behaviour:
        async def guarded(request: Any, context: Context) -> Any:
            async with aborting(context, self._refused):
                identity = self._admitted(context, role)
                if not counts:
                    return await inner(request, context)
                self._guard.frame(identity)
                try:
                    return await inner(request, context)
                finally:
                    self._guard.frame_ended(identity)

        return guarded

    def _stream(self, inner: Behaviour) -> Behaviour:
        async def guarded(requests: Any, context: Context) -> None:
            async with aborting(context, self._refused):
                identity = self._admitted(context, "device")
                self._guard.stream(identity)
                counting = _Counting(context, self._guard, identity)
                try:
                    await inner(counting.requests(requests), cast("Context", counting))
                finally:
                    try:
                        await counting.end()
                    finally:  # who hangs up meanwhile ends this at the await
                        counting.release()
                        self._guard.stream_ended(identity)

        return guarded


class _Counting:
    """The context of a stream: each request counts as a frame until its response is written."""

    def __init__(self, context: Context, guard: Guard, identity: Identity) -> None:
        self._context = context
        self._guard = guard
        self._identity = identity
        self._under_way = 0
        self._ended = asyncio.Event()
        self._writing: asyncio.Future[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def requests(self, requests: Any) -> Any:
        """As they come. While its caller has as many in flight as it may, none is read, and the
        transport holds it back; one beyond its rate ends the stream."""
        async for request in requests:
            await self._let_in()
            self._under_way += 1
            yield request

    async def _let_in(self) -> None:
        """Wait until there is room for one more; DeniedError for any other reason."""
        while True:
            try:
                self._guard.frame(self._identity)
            except DeniedError as denied:
                if denied.why != "in_flight":
                    raise
                # Another stream of this caller may end one, too, and does not say so here.
                self._ended.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(denied.retry_after_s):
                        await self._ended.wait()
            else:
                return

    async def write(self, response: Any) -> None:
        """The response to one of them."""
        self._writing = asyncio.ensure_future(self._context.write(response))
        self._writing.add_done_callback(_heard)
        await asyncio.shield(self._writing)
        if self._under_way:
            self._under_way -= 1
            self._guard.frame_ended(self._identity)
            self._ended.set()

    async def end(self) -> None:
        """Wait, for a while, for a response that is being written: until then gRPC takes no status.
        `release` is to follow, even if whoever waits here is cancelled."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=LAST_WRITE_S)

    def release(self) -> None:
        """No other response will be written, and nothing counts as a frame any more."""
        if self._writing is not None:
            self._writing.cancel()
        while self._under_way:
            self._under_way -= 1
            self._guard.frame_ended(self._identity)


def _heard(writing: asyncio.Future[None]) -> None:
    """A write that fails when nobody waits for it any more is no fault of the service."""
    if not writing.cancelled():
        writing.exception()
