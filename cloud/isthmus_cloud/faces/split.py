"""The gRPC face: hands each call's messages to the core, and knows nothing of tails."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager

import grpc

from isthmus import LinkError
from isthmus.session import error_message
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitServicer
from isthmus_cloud.config import MAX_STREAMS
from isthmus_cloud.core import Core
from isthmus_cloud.faces.callers import aborting, caller_of
from isthmus_cloud.security import Guard, OpenDoor
from isthmus_cloud.sessions.visitor import Visitor

Context = grpc.aio.ServicerContext[pb.EdgeMessage, pb.CloudMessage]

REFUSAL_S = 5.0  # for a device to take the one message that it gets

__all__ = ["SplitService"]

_logger = logging.getLogger(__name__)


class SplitService(SplitServicer):
    """All streams of one server, `max_streams` at once."""

    def __init__(
        self, core: Core, guard: Guard | None = None, max_streams: int = MAX_STREAMS
    ) -> None:
        self._core = core
        self._guard = guard or OpenDoor()
        self._max_streams = max_streams

    async def Stream(  # noqa: N802 - the name that the contract gives the call
        self, request_iterator: AsyncIterator[pb.EdgeMessage], context: Context
    ) -> None:
        """One device, from its Hello to the end of the call."""
        async with aborting(context, self._core.refused):
            visitor = self._admitted(context)
            try:
                await self._serve(request_iterator, context, visitor)
            finally:
                self._guard.stream_ended(visitor.identity)

    def _admitted(self, context: Context) -> Visitor:
        """Who it is; DeniedError if it may not come in."""
        identity = self._guard.admit(caller_of(context), "device")
        self._guard.stream(identity)
        return Visitor(identity, context.peer(), self._guard)

    async def _serve(
        self, messages: AsyncIterator[pb.EdgeMessage], context: Context, visitor: Visitor
    ) -> None:
        if self._core.streams >= self._max_streams:
            await self._refuse(context, visitor)
            return
        try:
            async with aclosing(_received(messages)) as received:
                await self._core.serve(received, _writer(context), visitor)
        except* LinkError as broken:
            _logger.info("%s: %s", visitor.peer, broken.exceptions[0])

    async def _refuse(self, context: Context, visitor: Visitor) -> None:
        text = f"no more devices than {self._max_streams} are served at once; come back later"
        self._core.refused(visitor.identity.name, "streams", visitor.peer)
        try:
            async with asyncio.timeout(REFUSAL_S):
                await _writer(context)(error_message(0, pb.ERROR_CODE_OVERLOADED, text))
        except (LinkError, TimeoutError) as broken:
            _logger.info("which it did not wait for: %s", str(broken) or "it reads nothing")


async def _received(
    messages: AsyncIterator[pb.EdgeMessage],
) -> AsyncGenerator[pb.EdgeMessage, None]:
    with _grpc_translated():
        async for message in messages:
            yield message


def _writer(context: Context) -> Callable[[pb.CloudMessage], Awaitable[None]]:
    async def write(message: pb.CloudMessage) -> None:
        with _grpc_translated():
            await context.write(message)

    return write


@contextmanager
def _grpc_translated() -> Iterator[None]:
    try:
        yield
    except grpc.aio.BaseError as error:
        raise LinkError(f"the stream broke off: {error}") from error
