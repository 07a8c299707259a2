"""Which of a video's frames the next difference rests on: it is of use where the cloud has all."""

from isthmus.v1 import split_pb2 as pb

__all__ = ["Lineage"]


class Lineage:
    """The marks from the last key frame's to that of the frame encoded last, without a gap.

    Empty at first, and behind a frame that has no mark. `breaks` counts how often it has ended
    because the cloud lacks one of them: a difference that was encoded before must not go out.
    """

    def __init__(self) -> None:
        self._first = self._last = 0
        self.breaks = 0

    def extend(self, message: pb.Frame) -> None:
        """This one was encoded last."""
        if not message.reference:
            self._first = message.mark
        self._last = message.mark

    def holds(self, mark: int) -> bool:
        """Whether the next difference would rest on what has this mark."""
        return 0 < self._first <= mark <= self._last

    def end(self) -> None:
        """The next frame rests on none."""
        self._first = self._last = 0
        self.breaks += 1
