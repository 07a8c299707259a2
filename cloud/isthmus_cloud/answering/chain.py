"""A key frame and the differences after it: which of them there can be a difference to."""

from collections import deque

MOST_MARKS = 64  # far more than are under way at once; what follows refers to the last one

__all__ = ["Chain"]


class Chain:
    """The marks of one stream since its last key frame; of very many, the last ones."""

    def __init__(self) -> None:
        self._marks: deque[int] = deque(maxlen=MOST_MARKS)
        self._lost: set[int] = set()  # some of these

    def came(self, mark: int) -> None:
        """A frame of this mark has come; perhaps anew, after it was lost."""
        self._marks.append(mark)
        self._lost.discard(mark)
        self._lost.intersection_update(self._marks)

    def has(self, mark: int) -> bool:
        """Whether it has come, be it kept or not. On the thread of `came`."""
        return mark in self._marks

    def lose(self, mark: int) -> None:
        """It will not be kept; from any thread."""
        self._lost.add(mark)

    def is_lost(self, mark: int) -> bool:
        """Whether there is no sense in a difference to it; from any thread."""
        return mark in self._lost
