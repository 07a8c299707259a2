"""Who calls is asked before a byte of the message is read, on every face of the service.

gRPC reads the message of a call with one message before it calls the handler: a stranger could have
it wait for half a message on every place there is. So such handlers are turned into ones that take
a stream of messages, which is the same on the wire, and reads nothing until somebody asks.

A face may ask the guard again, for the role that it wants and for what it counts.

Calls are counted for each identity until gRPC is done with them, which may be long after their
handler: the last words of a call that nobody reads wait in gRPC until its connection ends.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from isthmus import WireError
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.faces.callers import Refused, aborting, caller_of
from isthmus_cloud.faces.reading import MessageSizes, reader_of
from isthmus_cloud.security import Guard, Identity
from isthmus_cloud.security.calls import CallKind, CallsEach

# Probes have no token. They are answered by one short message, to so many at once.
OPEN_CALLS = 64
OPEN = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ServerReady",
    }
)
STREAM = "/isthmus.v1.Split/Stream"
INFERENCES = frozenset(
    {
        "/inference.GRPCInferenceService/ModelInfer",
        "/inference.GRPCInferenceService/ModelStreamInfer",
    }
)

__all__ = ["INFERENCES", "OPEN", "STREAM", "Doorkeeper"]

_logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc.RpcMethodHandler, which is generic for type checkers only
Requests = AsyncIterator[Any]
Door = Callable[[Context], Any]
Take = Callable[[Requests, Context], Awaitable[Any]]


class Doorkeeper(grpc.aio.ServerInterceptor):
    """Asks the guard for every call but a few for probes; then the message has `idle_s` to be
    there, that of a probe `hello_s`. `refused` hears of who was sent away: identity, why, peer.
    Messages are held to `sizes`. Those of probes are read by turns, so that what strangers send
    takes no more than `max_bytes_in_flight`, or one message where that is more.

    An identity may have so many calls under way, see `CallsEach`. A stream of frames is counted by
    its face, and here only when it is over and the device has not taken its end.

    What a handler raises that is no status is logged, and the caller hears nothing of it.
    """

    def __init__(
        self, guard: Guard, config: ServiceConfig, refused: Refused, sizes: MessageSizes
    ) -> None:
        self._guard = guard
        self._sizes = sizes
        self._turns = asyncio.Semaphore(max(1, config.max_bytes_in_flight // sizes.most))
        self._message_s = config.idle_s
        self._probe_s = config.hello_s
        self._refused = refused
        self._open_calls = 0
        self._calls = CallsEach()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """See `grpc.aio.ServerInterceptor`."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        is_open = method in OPEN
        kept = _Kept(
            door=self._opened if is_open else self._door_of(method),
            wait_s=self._probe_s if is_open else self._message_s,
            turn=self._turns if is_open else nullcontext(),
            read=self._reader_of(method, handler.request_deserializer),
        )
        return kept.handler(handler)

    def _reader_of(self, method: str, parse: Any) -> Callable[[bytes], Any] | None:
        return reader_of(method, parse, self._sizes.frame if method == STREAM else None)

    def _door_of(self, method: str) -> Door:
        if method == STREAM:
            return self._streaming
        return partial(self._calling, "inferences" if method in INFERENCES else "calls")

    @asynccontextmanager
    async def _calling(self, kind: CallKind, context: Context) -> AsyncIterator[None]:
        async with aborting(context, self._refused):
            identity = self._admitted(context, kind)
            self._count(identity, kind, context)
            yield

    @asynccontextmanager
    async def _streaming(self, context: Context) -> AsyncIterator[None]:
        async with aborting(context, self._refused):
            identity = self._admitted(context, "calls")
            try:
                yield
            finally:
                self._count(identity, "calls", context)

    def _admitted(self, context: Context, kind: CallKind) -> Identity:
        identity = self._guard.admit(caller_of(context), "device")
        self._calls.check(identity.name, kind)
        return identity

    def _count(self, identity: Identity, kind: CallKind, context: Context) -> None:
        """From now on, and until the last of this call has been taken or its connection ends."""
        self._calls.begun(identity.name, kind)

        def ended(_: Context) -> None:
            self._calls.ended(identity.name, kind)

        context.add_done_callback(ended)  # type: ignore[arg-type]  # typed as a class

    @asynccontextmanager
    async def _opened(self, context: Context) -> AsyncIterator[None]:
        if self._open_calls >= OPEN_CALLS:
            text = f"{OPEN_CALLS} such calls are under way; come back later"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        self._open_calls += 1
        try:
            yield
        finally:
            self._open_calls -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """Handlers that are the same on the wire; but nothing is read before the door is passed."""

    door: Door
    wait_s: float
    turn: AbstractAsyncContextManager[Any]
    read: Callable[[bytes], Any] | None

    def handler(self, handler: Handler) -> Handler:
        """This one, kept."""
        made, behaviour = self._behaviour(handler)
        return made(
            behaviour,
            request_deserializer=self.read,
            response_serializer=handler.response_serializer,
        )

    def _behaviour(self, handler: Handler) -> tuple[Any, Any]:
        """What makes a handler, and what it does. It answers one message, or a stream of them,
        which comes out of a generator or is written by a coroutine."""
        take = self._as_they_come if handler.request_streaming else self._the_only_one
        if handler.response_streaming:
            inner = handler.stream_stream or handler.unary_stream
            made: Any = grpc.stream_stream_rpc_method_handler
            if inspect.isasyncgenfunction(inner):
                return made, self._generating(inner, take)
            return made, self._answering(inner, take)
        inner = handler.stream_unary or handler.unary_unary
        return grpc.stream_unary_rpc_method_handler, self._answering(inner, take)

    def _answering(self, inner: Any, take: Take) -> Any:
        async def behaviour(requests: Requests, context: Context) -> Any:
            async with _contained(context), self.door(context):
                return await inner(await take(requests, context), context)

        return behaviour

    def _generating(self, inner: Any, take: Take) -> Any:
        async def behaviour(requests: Requests, context: Context) -> AsyncIterator[Any]:
            async with _contained(context), self.door(context):
                async for response in inner(await take(requests, context), context):
                    yield response

        return behaviour

    async def _as_they_come(self, requests: Requests, _: Context) -> Any:
        return requests

    async def _the_only_one(self, _: Requests, context: Context) -> Any:
        try:
            async with asyncio.timeout(self.wait_s), self.turn:
                request = await context.read()
        except TimeoutError:
            text = f"the message was not there after {self.wait_s:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)
        if request is grpc.aio.EOF:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this call takes a message")
        return request


@asynccontextmanager
async def _contained(context: Context) -> AsyncIterator[None]:
    try:
        yield
    except WireError as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except grpc.aio.BaseError:  # gRPC's own way out of a handler, or a link that broke
        raise
    except Exception:
        _logger.exception("a call of %s failed", context.peer())
        await context.abort(grpc.StatusCode.INTERNAL, "the service failed; its log says why")
