"""What frames ended in, as long as no device has read it; it takes memory as frames do."""

import heapq
from collections.abc import Iterator, Sequence

from isthmus.session import error_message
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.budget import ByteBudget, OverloadedError

SHARE = 8  # one part in so many of the memory for frames is theirs, of all and of each session
MOST_SESSIONS = 16  # whose answers make room for one frame

_SHED = "the device did not read this answer, and its memory was needed for another client's frame"

__all__ = ["Unread", "UnreadRoom"]


class UnreadRoom:
    """What the sessions have unread together; used on the event loop only.

    Its bytes count with those of all frames that are here: they come from frames that were run, so
    nothing is refused. What goes beyond a share is paid back when a frame needs the memory, by
    those sessions that have most.
    """

    def __init__(self, budget: ByteBudget, limit_bytes: int) -> None:
        self.share_bytes = limit_bytes // SHARE
        self._budget = budget
        self._size_bytes = 0
        self._some: dict[Unread, None] = {}  # that are not empty

    def session(self) -> "Unread":
        """For one more session."""
        return Unread(self)

    @property
    def surplus_bytes(self) -> int:
        """By how much they have more than the share of all; 0 if they do not."""
        return max(0, self._size_bytes - self.share_bytes)

    def excess(self, count: int) -> "Sequence[tuple[Unread, int]]":
        """Answers that free `count` bytes if they are shed, by session and frame: the latest of
        those sessions that have most, but none that is told next. [] if there are too few."""
        found: list[tuple[Unread, int]] = []
        greatest = heapq.nlargest(MOST_SESSIONS, self._some, key=_size) if count > 0 else ()
        for unread in greatest:
            for sequence, freed_bytes in unread.latest():
                found.append((unread, sequence))
                count -= freed_bytes
                if count <= 0:
                    return found
        return []

    def count(self, unread: "Unread", size_bytes: int) -> None:
        """This session has so many more, or less, than before."""
        self._size_bytes += size_bytes
        self._budget.add(size_bytes)
        if len(unread):
            self._some[unread] = None
        else:
            self._some.pop(unread, None)


class Unread:
    """Of one session: messages by the number of their frame, oldest first."""

    def __init__(self, room: UnreadRoom) -> None:
        self._room = room
        self._messages: dict[int, tuple[pb.CloudMessage, int]] = {}
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def size_bytes(self) -> int:
        """What they take."""
        return self._size_bytes

    def check(self) -> None:
        """OverloadedError where so much is unread that the session gets no more frames run."""
        if self._size_bytes > self._room.share_bytes:
            raise OverloadedError(
                f"answers of {self._size_bytes} bytes were not read on this stream, more than the "
                f"{self._room.share_bytes} that one may leave; read them, then send the frame again"
            )

    def put(self, sequence: int, message: pb.CloudMessage) -> None:
        """What this frame ended in."""
        self.drop(sequence)
        self._set(sequence, message)

    def take(self) -> pb.CloudMessage | None:
        """The oldest, for whoever tells it now."""
        return self._without(next(iter(self._messages))) if self._messages else None

    def drop(self, sequence: int) -> None:
        """Nobody wants to know of this frame."""
        if sequence in self._messages:
            self._without(sequence)

    def clear(self) -> None:
        """Nobody wants to know of any."""
        while self._messages:
            self.take()

    def latest(self) -> Iterator[tuple[int, int]]:
        """Frames whose answers can be shed, the latest first, and the bytes that each frees: all
        but the one that is told next, and what is hardly greater than the error in its place."""
        sequences = list(self._messages)
        for sequence in reversed(sequences[1:]):
            freed_bytes = self._messages[sequence][1] - _shed(sequence).ByteSize()
            if freed_bytes > 0:
                yield sequence, freed_bytes

    def shed(self, sequence: int) -> None:
        """This frame ends in an error in place of its answer."""
        self._set(sequence, _shed(sequence))

    def _set(self, sequence: int, message: pb.CloudMessage) -> None:
        _, before_bytes = self._messages.get(sequence, (None, 0))
        size_bytes = message.ByteSize()
        self._messages[sequence] = (message, size_bytes)
        self._count(size_bytes - before_bytes)

    def _without(self, sequence: int) -> pb.CloudMessage:
        message, size_bytes = self._messages.pop(sequence)
        self._count(-size_bytes)
        return message

    def _count(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        self._room.count(self, size_bytes)


def _shed(sequence: int) -> pb.CloudMessage:
    return error_message(sequence, pb.ERROR_CODE_OVERLOADED, _SHED)


def _size(unread: Unread) -> int:
    return unread.size_bytes
