"""A device that keeps to the order of messages and to nothing else: threads, no asyncio."""

import queue
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import grpc
from tests.commands import PATIENCE_S
from tests.integration.faults.tally import Tally

from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitStub

STUCK_S = 0.5  # nothing was taken for so long: the other side does not read

End = tuple[int, str]  # of a frame: its sequence; "result", or the name of its error's code

__all__ = ["End", "RawDevice", "tally_of"]


class RawDevice:
    """Sends what it is told, as fast as flow control lets it; reads when it is asked what came."""

    def __init__(self, address: str, session_id: str, fingerprint: str) -> None:
        self._outbox: queue.SimpleQueue[Iterator[pb.EdgeMessage] | None] = queue.SimpleQueue()
        self._taken: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._flooded = 0
        self._is_flooding = True
        self._beats = 0
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
        """So many frames, numbered from 1 and made as they can be sent; see `end_flood`."""
        self._outbox.put(self._numbered(frame, count))

    def end_flood(self) -> list[End]:
        """Make no more of them, read at last, and see how each that was made has ended."""
        self._is_flooding = False
        ends = self.all_outcomes()  # the heartbeat goes out behind the last of them
        return ends + [self.outcome() for _ in range(self._flooded - len(ends))]

    @property
    def flooded(self) -> int:
        """How many frames the flood had; known once it has ended."""
        return self._flooded

    def outcome(self) -> End:
        """How the next frame that comes to an end does."""
        for message in self._call:
            end = _end(message)
            if end is not None:
                return end
        raise AssertionError("the stream has ended before the frame")

    def all_outcomes(self, settled_through: int = 0) -> list[End]:
        """Those that come before the echo of a heartbeat that is sent now.

        The service reads in order, so the rest are of frames that it works on. It may forget the
        frames up to `settled_through`.
        """
        self._beats += 1
        self.send(heartbeat=pb.Heartbeat(id=self._beats, settled_through=settled_through))
        ends: list[End] = []
        for message in self._call:
            if message.heartbeat.id == self._beats:
                return ends
            end = _end(message)
            if end is not None:
                ends.append(end)
        raise AssertionError("the stream has ended before the heartbeat's echo")

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

    def _numbered(self, frame: pb.Frame, count: int) -> Iterator[pb.EdgeMessage]:
        while self._is_flooding and self._flooded < count:
            self._flooded += 1
            frame.sequence = self._flooded
            yield pb.EdgeMessage(frame=frame)


def _end(message: pb.CloudMessage) -> End | None:
    """What the message tells of the end of a frame, if it is about that."""
    match message.WhichOneof("kind"):
        case "result":
            return message.result.sequence, "result"
        case "error":
            assert message.error.sequence > 0, message
            return message.error.sequence, pb.ErrorCode.Name(message.error.code)
    return None


def tally_of(sent: int, ends: list[End]) -> Tally:
    """How the frames 1 to `sent` ended, by what came; a frame's first end is the one that counts.

    What is told of a frame that was never sent is `wrong`.
    """
    first = {sequence: kind for sequence, kind in reversed(ends) if 1 <= sequence <= sent}
    answered = sum(kind == "result" for kind in first.values())
    known = sum(1 <= sequence <= sent for sequence, _ in ends)
    return Tally(
        accepted=sent,
        cloud=answered,
        device=0,
        errors=len(first) - answered,
        lost=sent - len(first),
        twice=known - len(first),
        wrong=len(ends) - known,
    )
