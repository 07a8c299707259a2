"""Files whose answer no output took: which are tried again, and when. No clock in it.

One is tried after a pause, which doubles while that does not help. Each answer that is written lets
two more be tried: a disk that has room for a few lines costs a few frames, not all of them.
"""

import threading
from pathlib import Path

from isthmus_edge.daemon.sources.arrivals import Version

PAUSE_S = (1.0, 30.0)  # the first and the longest

__all__ = ["PAUSE_S", "Again"]


class Again:
    """Used by the thread of the source and by that which writes answers."""

    def __init__(self, pause_s: tuple[float, float] = PAUSE_S) -> None:
        self._first_s, self._longest_s = pause_s
        self._pause_s = self._first_s
        self._next_s = 0.0
        self._let = 0
        self._held: dict[Path, Version] = {}
        self._changing = threading.Lock()

    @property
    def is_empty(self) -> bool:
        """Whether every file has had an answer that was written."""
        return not self._held

    def unwritten(self, path: Path, version: Version, now_s: float) -> None:
        """The answer of a file is lost."""
        with self._changing:
            if not self._held:
                self._next_s = now_s + self._pause_s
            self._held[path] = version

    def written(self) -> None:
        """Some output has taken a line."""
        with self._changing:
            self._pause_s = self._first_s
            self._let += 2 if self._held else 0

    def due(self, now_s: float) -> list[tuple[Path, Version]]:
        """Those to be tried now, which are then no longer held; the first lost come first."""
        with self._changing:
            count, self._let = self._let, 0
            if not self._held or (not count and now_s < self._next_s):
                return []
            self._next_s = now_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, self._longest_s)
            first = list(self._held)[: max(1, count)]
            return [(path, self._held.pop(path)) for path in first]
