"""The gRPC face: hands each call's messages to a `Stream`, and knows nothing of tails."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager

import grpc
from google.protobuf.message import DecodeError

from isthmus import LinkError, WireError
from isthmus.session import error_message
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitServicer
from isthmus_cloud.config import MAX_STREAMS
from isthmus_cloud.sessions.sessions import Sessions
from isthmus_cloud.sessions.stream import Stream

Context = grpc.aio.ServicerContext[pb.EdgeMessage, pb.CloudMessage]

__all__ = ["SplitService"]

_logger = logging.getLogger(__name__)


class SplitService(SplitServicer):
    """All streams of one server, `max_streams` at once."""

    def __init__(self, sessions: Sessions, max_streams: int = MAX_STREAMS) -> None:
        self._sessions = sessions
        self._max_streams = max_streams
        self._streams: set[Stream] = set()
        self._drain_grace_s: float | None = None

    async def Stream(  # noqa: N802 - the name that the contract gives the call
        self, request_iterator: AsyncIterator[pb.EdgeMessage], context: Context
    ) -> None:
        """One device, from its Hello to the end of the call."""
        if len(self._streams) >= self._max_streams:
            await self._refuse(context)
            return
        stream = Stream(self._sessions, _writer(context))
        if self._drain_grace_s is not None:
            stream.drain(self._drain_grace_s)
        self._streams.add(stream)
        try:
            async with aclosing(_received(request_iterator)) as messages:
                await stream.serve(messages)
        except* LinkError as broken:
            _logger.info("session %s: %s", stream.name, broken.exceptions[0])
        finally:
            self._streams.discard(stream)

    async def _refuse(self, context: Context) -> None:
        text = f"{self._max_streams} devices are here already, which is the most; come back later"
        _logger.info("a stream was refused: %s", text)
        try:
            await _writer(context)(error_message(0, pb.ERROR_CODE_OVERLOADED, text))
        except LinkError as broken:
            _logger.info("which it did not wait for: %s", broken)

    def drain(self, grace_s: float) -> None:
        """Send Drain on every stream; each ends when what it has in flight is answered.

        Parked sessions end now.
        """
        self._drain_grace_s = grace_s
        self._sessions.end_parked()
        for stream in self._streams:
            stream.drain(grace_s)

    def end(self) -> None:
        """End every stream and session now; what is in flight is given up."""
        self._sessions.end_parked()
        for stream in self._streams:
            stream.end()


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
    except DecodeError as error:
        raise WireError("bytes came that are no message of this protocol") from error
