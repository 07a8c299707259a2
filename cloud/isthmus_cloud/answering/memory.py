"""What a stream remembers between frames, and the order in which they are decoded.

Most frames stand for themselves: any worker decodes them at any time. A frame of a video may be
*marked*, to be kept, or be a difference to the kept one; these are decoded in order of arrival,
although several workers take them from the queue at once. They line up here as they arrive. The
worker whose frame is not the first in the line decodes those before it too, so that nobody waits
for a worker that has not begun; then each runs the tail of its own frame, side by side.
"""

import threading
import uuid
from collections import deque
from dataclasses import dataclass

from isthmus import Kept, KeyFrameNeededError, SymbolCoder, WireError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.chain import Chain
from isthmus_cloud.answering.feeds import Scalars, Tensors
from isthmus_cloud.answering.packed import Packed
from isthmus_cloud.answering.routes import Route

__all__ = ["StreamMemory", "Turn"]


@dataclass(slots=True, eq=False)
class Turn:
    """One frame on its way to being decoded; `frame` is None once it was, or was given up.

    `is_bereft`: what it refers to has never come, as far as its `chain` tells. `is_packed`: another
    process has it, too.
    """

    memory: "StreamMemory"
    chain: Chain
    route: Route
    frame: pb.Frame | None
    payload_bytes: int
    scalars: tuple[Scalars, ...]
    stream: str
    refers: bool
    is_bereft: bool
    is_packed: bool = False
    tensors: Tensors = ()
    error: Exception | None = None

    def decode(self, coder: SymbolCoder) -> Tensors:
        """See `StreamMemory.decode`."""
        return self.memory.decode(self, coder)

    def packed(self) -> Packed:
        """The frame for another process, which keeps what this stream's frames refer to there.

        KeyFrameNeededError if what it refers to was never sent there, for which the other process
        would wait; WireError if it was decoded or given up.
        """
        frame = self.frame
        if frame is None:
            raise WireError("the frame is gone: nobody waits for it any more")
        if self.is_bereft or (self.refers and self.chain.is_lost(frame.reference)):
            self._lose(frame)
            raise KeyFrameNeededError(
                f"the frame is a difference to the symbols marked {frame.reference}, which have "
                "not come; send it again as a key frame"
            )
        self.is_packed = True
        return Packed(
            candidate=self.route.candidate.id,
            frame=frame.SerializeToString(),
            stream=self.stream,
            mark=frame.mark,
            reference=frame.reference,
        )

    def give_up(self) -> None:
        """Nobody wants it any more: let go of what it holds."""
        if self.frame is not None and not self.is_packed:
            self._lose(self.frame)
        self.frame = None
        self.tensors = ()

    def outcome(self) -> Tensors:
        """What came of decoding it."""
        try:
            if self.error is not None:
                raise self.error
            return self.tensors
        finally:
            self.error = None  # or error, traceback and turn would hold each other in memory

    def _lose(self, frame: pb.Frame) -> None:
        if frame.mark:
            self.chain.lose(frame.mark)


class StreamMemory:
    """One stream's: at most one frame's symbols are kept, and they go with the stream. `name` tells
    it from those of all other streams."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        self._chain = Chain()
        self._line: deque[Turn] = deque()
        self._decoding = threading.Lock()
        self._kept: Kept | None = None

    def turn(self, route: Route, frame: pb.Frame) -> Turn:
        """A frame has arrived; to be called in order of arrival."""
        if frame.mark and not frame.reference:
            self._chain = Chain()
        turn = Turn(
            memory=self,
            chain=self._chain,
            route=route,
            frame=frame,
            payload_bytes=sum(len(payload.data) for payload in frame.payloads),
            scalars=route.scalars[frame.rung],
            stream=self.name if frame.mark or frame.reference else "",
            refers=frame.reference > 0,
            is_bereft=frame.reference > 0 and not self.has(frame.reference),
        )
        if frame.mark or frame.reference:
            self._forget_given_up()
            self._line.append(turn)
        if frame.mark:
            self._chain.came(frame.mark)
        return turn

    def has(self, mark: int) -> bool:
        """Whether a frame of this mark has come since the last key frame, be it decoded or not. In
        order with `turn`."""
        return self._chain.has(mark)

    @property
    def kept_bytes(self) -> int:
        """What is kept at present."""
        kept = self._kept
        return 0 if kept is None else sum(each.nbytes for each in kept.symbols.values())

    def decode(self, turn: Turn, coder: SymbolCoder) -> Tensors:
        """The wire tensors of a frame, by the calling worker or one that came before it.

        Raises what `isthmus.decode_frame` does.
        """
        frame = turn.frame
        if frame is not None and not (frame.mark or frame.reference):
            return turn.route.decode(frame, coder, None)[0]
        with self._decoding:
            while turn.frame is not None:
                self._decode_first(coder)
        return turn.outcome()

    def _forget_given_up(self) -> None:
        """Or they would stand in the line until a later frame is decoded, which may never be."""
        if self._decoding.acquire(blocking=False):
            try:
                self._line = deque(turn for turn in self._line if turn.frame is not None)
            finally:
                self._decoding.release()

    def _decode_first(self, coder: SymbolCoder) -> None:
        turn = self._line.popleft()
        frame = turn.frame
        if frame is None:
            return
        try:
            turn.tensors, self._kept = turn.route.decode(frame, coder, self._kept)
        except Exception as error:  # noqa: BLE001 - raised by `outcome`, to the frame's own worker
            turn.error = error
        turn.frame = None
