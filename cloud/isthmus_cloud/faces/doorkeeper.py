"""Who calls is asked before a byte of the message is read, on every face of the service.

gRPC reads the message of a call with one message before it calls the handler: a stranger could have
it wait for half a message on every place there is. So such handlers are turned into ones that take
a stream of messages, which is the same on the wire, and reads nothing until somebody asks.

A face may ask the guard again, for the role that it wants and for what it counts.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.faces.callers import aborting, caller_of
from isthmus_cloud.security import DeniedError, Guard

# Probes have no token. They are answered by one short message, to so many at once.
OPEN_CALLS = 64
OPEN = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ServerReady",
    }
)

__all__ = ["OPEN", "Doorkeeper"]

_logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc.RpcMethodHandler, which is generic for type checkers only
Requests = AsyncIterator[Any]
Refused = Callable[[str, str, str], None]


class Doorkeeper(grpc.aio.ServerInterceptor):
    """Asks the guard for every call but a few for probes; then the message has `idle_s` to be
    there, that of a probe `hello_s`. `refused` hears of who was sent away: identity, why, peer.

    What a handler raises that is no status is logged, and the caller hears nothing of it.
    """

    def __init__(self, guard: Guard, config: ServiceConfig, refused: Refused) -> None:
        self._guard = guard
        self._message_s = config.idle_s
        self._probe_s = config.hello_s
        self._refused = refused
        self._open_calls = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """See `grpc.aio.ServerInterceptor`."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        door = self._opened if handler_call_details.method in OPEN else self._guarded
        wait_s = self._probe_s if handler_call_details.method in OPEN else self._message_s
        return _kept(handler, door, wait_s)

    @asynccontextmanager
    async def _guarded(self, context: Context) -> AsyncIterator[None]:
        async with aborting(context):
            try:
                self._guard.admit(caller_of(context), "device")
            except DeniedError as denied:
                self._refused(denied.identity, denied.why, context.peer())
                raise
            yield

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


Door = Callable[[Context], Any]


def _kept(handler: Handler, door: Door, wait_s: float) -> Handler:
    """The same on the wire; but nothing is read before the door is passed."""
    made, behaviour = _behaviour(handler, door, wait_s)
    return made(
        behaviour,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def _behaviour(handler: Handler, door: Door, wait_s: float) -> tuple[Any, Any]:
    """What makes a handler, and what it does. It answers one message, or a stream of them, which
    comes out of a generator or is written by a coroutine."""
    if handler.response_streaming:
        inner = handler.stream_stream or handler.unary_stream
        made: Any = grpc.stream_stream_rpc_method_handler
        if inspect.isasyncgenfunction(inner):
            return made, _generating(inner, door, _taker(handler, wait_s))
        return made, _answering(inner, door, _taker(handler, wait_s))
    inner = handler.stream_unary or handler.unary_unary
    made = grpc.stream_unary_rpc_method_handler
    return made, _answering(inner, door, _taker(handler, wait_s))


def _answering(inner: Any, door: Door, take: Any) -> Any:
    async def behaviour(requests: Requests, context: Context) -> Any:
        async with _contained(context), door(context):
            return await inner(await take(requests, context), context)

    return behaviour


def _generating(inner: Any, door: Door, take: Any) -> Any:
    async def behaviour(requests: Requests, context: Context) -> AsyncIterator[Any]:
        async with _contained(context), door(context):
            async for response in inner(await take(requests, context), context):
                yield response

    return behaviour


def _taker(handler: Handler, wait_s: float) -> Callable[[Requests, Context], Awaitable[Any]]:
    """What a handler takes: the requests as they come, or the only one, when it is there."""

    async def as_they_come(requests: Requests, _: Context) -> Any:
        return requests

    async def the_only_one(_: Requests, context: Context) -> Any:
        try:
            async with asyncio.timeout(wait_s):
                request = await context.read()
        except TimeoutError:
            text = f"the message was not there after {wait_s:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)
        if request is grpc.aio.EOF:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this call takes a message")
        return request

    return as_they_come if handler.request_streaming else the_only_one


@asynccontextmanager
async def _contained(context: Context) -> AsyncIterator[None]:
    try:
        yield
    except DecodeError:
        text = "bytes came that are no message of this call"
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
    except grpc.aio.BaseError:  # gRPC's own way out of a handler, or a link that broke
        raise
    except Exception:
        _logger.exception("a call of %s failed", context.peer())
        await context.abort(grpc.StatusCode.INTERNAL, "the service failed; its log says why")
