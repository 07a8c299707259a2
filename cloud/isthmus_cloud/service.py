"""The gRPC face: hands each call's messages to a `Stream`, and knows nothing of tails."""

from collections.abc import AsyncIterator

import grpc

from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitServicer
from isthmus_cloud.answering import Answerer
from isthmus_cloud.session import Session
from isthmus_cloud.stream import Stream

Context = grpc.aio.ServicerContext[pb.EdgeMessage, pb.CloudMessage]

__all__ = ["SplitService"]


class SplitService(SplitServicer):
    """All streams of one server."""

    def __init__(
        self, answerer: Answerer, fingerprint: str, window: int, max_frame_bytes: int
    ) -> None:
        self._answerer = answerer
        self._terms = pb.Welcome(
            protocol=PROTOCOL,
            bundle_fingerprint=fingerprint,
            window=window,
            max_frame_bytes=max_frame_bytes,
            provider=answerer.provider,
        )
        self._streams: set[Stream] = set()
        self._drain_grace_s: float | None = None

    async def Stream(  # noqa: N802 - the name that the contract gives the call
        self, request_iterator: AsyncIterator[pb.EdgeMessage], context: Context
    ) -> None:
        """One device, from its Hello to the end of the call."""
        stream = Stream(Session(self._terms), self._answerer, context.write)
        if self._drain_grace_s is not None:
            stream.drain(self._drain_grace_s)
        self._streams.add(stream)
        try:
            await stream.serve(request_iterator)
        finally:
            self._streams.discard(stream)

    def drain(self, grace_s: float) -> None:
        """Send Drain on every stream; each ends when what it has in flight is answered."""
        self._drain_grace_s = grace_s
        for stream in self._streams:
            stream.drain(grace_s)
