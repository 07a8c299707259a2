"""A device that keeps to the order of messages and to nothing else: threads, no asyncio."""

import queue
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import grpc
from tests.commands import PATIENCE_S

from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitStub

STUCK_S = 1.0  # nothing was taken for so long: the other side does not read

__all__ = ["RawDevice"]


class RawDevice:
    """Sends what it is told, as fast as flow control lets it; reads when `outcome` is asked for."""

    def __init__(self, address: str, session_id: str, fingerprint: str) -> None:
        self._outbox: queue.SimpleQueue[Iterator[pb.EdgeMessage] | None] = queue.SimpleQueue()
        self._taken: queue.SimpleQueue[int] = queue.SimpleQueue()
        # It takes no more than 64 KB that nobody has read.
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0))
        self._channel = grpc.insecure_channel(address, options)
        self._call = SplitStub(self._channel).Stream(self._messages())  # type: ignore[no-untyped-call]
        self.send(
            hello=pb.Hello(protocol=PROTOCOL, session_id=session_id, bundle_fingerprint=fingerprint)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._outbox.put(None)
        self._call.cancel()
        self._channel.close()

    def send(self, **kind: object) -> None:
        """EdgeMessage(hello=…), (frame=…), …; never blocks."""
        self._outbox.put(iter([pb.EdgeMessage(**kind)]))  # type: ignore[arg-type]

    def flood(self, frame: pb.Frame, count: int) -> None:
        """So many frames, made as they can be sent."""
        self._outbox.put(_numbered(frame, count))

    def outcome(self) -> str:
        """How the next frame ended: "result", or the name of the error's code."""
        for message in self._call:
            match message.WhichOneof("kind"):
                case "result":
                    return "result"
                case "error":
                    assert message.error.sequence > 0, message
                    return pb.ErrorCode.Name(message.error.code)
        raise AssertionError("the stream has ended before the frame")

    def taken_until_stuck(self) -> int:
        """How many messages were on their way when no more could be sent."""
        count = 0
        try:
            while True:
                count = self._taken.get(timeout=PATIENCE_S if count == 0 else STUCK_S)
        except queue.Empty:
            return count

    def _messages(self) -> Iterator[pb.EdgeMessage]:
        count = 0
        while (messages := self._outbox.get()) is not None:
            for message in messages:
                count += 1
                self._taken.put(count)
                yield message


def _numbered(frame: pb.Frame, count: int) -> Iterator[pb.EdgeMessage]:
    for sequence in range(1, count + 1):
        frame.sequence = sequence
        yield pb.EdgeMessage(frame=frame)
