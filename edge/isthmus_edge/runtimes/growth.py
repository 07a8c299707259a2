"""What a graph takes in memory when it is loaded."""

from contextlib import suppress
from pathlib import Path

from isthmus.memory import resident_bytes

__all__ = ["Growth"]


class Growth:
    """Of the process since this was made, by the loading of a file.

    Memory that others have given back hides some of it: it is never less than the file.
    """

    def __init__(self, path: Path) -> None:
        self._least_bytes = 0
        for file in (path, path.with_name(f"{path.name}.data")):  # weights may lie beside it
            with suppress(OSError):  # whoever loads it will say so
                self._least_bytes += file.stat().st_size
        self._before = resident_bytes()

    def bytes_now(self) -> int:
        """0 or more."""
        return max(self._least_bytes, resident_bytes() - self._before)
