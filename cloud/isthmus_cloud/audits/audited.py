"""The answers of one session that wait for their audit."""

from collections.abc import Callable

from isthmus.v1 import split_pb2 as pb

MOST_AUDITED = 4

__all__ = ["MOST_AUDITED", "Audited"]


class Audited:
    """A few results as they were sent; `count_bytes` hears of every change of their size."""

    def __init__(self, count_bytes: Callable[[int], None]) -> None:
        self._count_bytes = count_bytes
        self._results: dict[int, tuple[pb.Result, int]] = {}  # oldest first

    @property
    def size_bytes(self) -> int:
        """Of all of them."""
        return sum(size_bytes for _, size_bytes in self._results.values())

    def remember(self, result: pb.Result) -> None:
        """One more; the oldest is forgotten if they are too many."""
        self.take(result.sequence)
        size_bytes = result.ByteSize()  # as it is now: whoever sends it may stamp it
        self._results[result.sequence] = (result, size_bytes)
        self._count_bytes(size_bytes)
        if len(self._results) > MOST_AUDITED:
            self.take(next(iter(self._results)))

    def take(self, sequence: int) -> pb.Result | None:
        """The result of this frame, which is forgotten here; None if it was not remembered."""
        result, size_bytes = self._results.pop(sequence, (None, 0))
        self._count_bytes(-size_bytes)
        return result

    def clear(self) -> None:
        """Forget all of them."""
        for sequence in tuple(self._results):
            self.take(sequence)
