"""The lines of stdin. What was read and not yet given stays here for whoever reads on."""

import os
import select
from collections import deque
from collections.abc import Iterator

MAX_LINE_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
TOO_LONG = b"{too long}"  # stands for a line that was

__all__ = ["MAX_LINE_BYTES", "TOO_LONG", "StdinLines"]


class StdinLines:
    """Those of one descriptor; several may read them, one after the other."""

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._whole: deque[bytes] = deque()
        self._torn = bytearray()  # grows in place: a long line comes in thousands of pieces
        self._is_skipping = False  # until the end of a line that is too long
        self._given = 0

    def until(self, woken: int) -> Iterator[tuple[int, bytes]]:
        """Number, from 1 for the first of all, and line, until `woken` can be read or the end."""
        is_open = True
        while True:
            while self._whole:
                self._given += 1
                yield self._given, self._whole.popleft()
            if not is_open:
                return
            ready, _, _ = select.select([self._descriptor, woken], [], [])
            if woken in ready:
                return
            is_open = self._read()

    def _read(self) -> bool:
        """Whether there may be more; the last line needs no end."""
        chunk = os.read(self._descriptor, CHUNK_BYTES)
        *ends, rest = (chunk or b"\n").split(b"\n")
        for end in ends:
            self._end_line(end)
        if not self._is_skipping:
            self._torn.extend(rest)
        if len(self._torn) > MAX_LINE_BYTES:
            self._whole.append(TOO_LONG)
            self._torn, self._is_skipping = bytearray(), True
        return bool(chunk)

    def _end_line(self, end: bytes) -> None:
        """The rest of the line that is torn."""
        if self._is_skipping:
            self._is_skipping = False
        elif self._torn:
            self._torn.extend(end)
            self._whole.append(bytes(self._torn))
            self._torn = bytearray()
        else:
            self._whole.append(end)
