"""Results that were sent, or had no stream to be sent on, until the device says it has them."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from isthmus.v1 import split_pb2 as pb

__all__ = ["KeptResults"]


@dataclass(frozen=True, slots=True)
class _Kept:
    message: pb.CloudMessage
    size_bytes: int  # as it was kept: whoever sends it may stamp it


class KeptResults:
    """At most `most` of them, with `most_bytes` together; the oldest go for new ones.

    A device misses no more than its window of them: those before have come, for a stream keeps the
    order. `count_bytes` hears of every change of `size_bytes`.
    """

    def __init__(self, most: int, most_bytes: int, count_bytes: Callable[[int], None]) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._count_bytes = count_bytes
        self._results: dict[int, _Kept] = {}  # by sequence, the oldest first
        self._sequences: list[int] = []  # of all of them, in order
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Of all of them, as they were when they came here."""
        return self._size_bytes

    @property
    def sequences(self) -> frozenset[int]:
        """Of all of them."""
        return frozenset(self._results)

    @property
    def messages(self) -> tuple[pb.CloudMessage, ...]:
        """All of them, the oldest first."""
        return tuple(kept.message for kept in self._results.values())

    def __len__(self) -> int:
        return len(self._results)

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._results

    def keep(self, sequence: int, message: pb.CloudMessage) -> None:
        """One more, unless it is too large by itself: the others would go for nothing."""
        size_bytes = message.ByteSize()
        if size_bytes > self._most_bytes:
            return
        self._results[sequence] = _Kept(message, size_bytes)
        insort(self._sequences, sequence)
        self._change(size_bytes)
        while len(self._results) > self._most:
            self.drop((next(iter(self._results)),))
        self.shrink(self._most_bytes)

    def shrink(self, most_bytes: int) -> None:
        """Forget the oldest until the others have no more bytes than this."""
        while self._results and self._size_bytes > most_bytes:
            self.drop((next(iter(self._results)),))

    def settle(self, through: int) -> None:
        """Forget those up to this frame."""
        count = bisect_right(self._sequences, through)
        for sequence in self._sequences[:count]:
            self._change(-self._results.pop(sequence).size_bytes)
        del self._sequences[:count]

    def drop(self, sequences: Iterable[int]) -> None:
        """Forget these, all of which are here."""
        for sequence in sequences:
            del self._sequences[bisect_left(self._sequences, sequence)]
            self._change(-self._results.pop(sequence).size_bytes)

    def clear(self) -> None:
        """Forget all."""
        self._results.clear()
        self._sequences.clear()
        self._change(-self._size_bytes)

    def _change(self, count: int) -> None:
        self._size_bytes += count
        self._count_bytes(count)
