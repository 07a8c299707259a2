"""How far a long measurement is: one line written anew, or plain lines where that cannot be."""

import sys
import time
from typing import Self

__all__ = ["ProgressLine"]

_WIDTH = 24
_EVERY_S = 0.1
_PLAIN_LINES = 10  # of the whole


class ProgressLine:
    """Called with the share (0-1) that is done and what is being done; writes to stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._begin = time.monotonic()
        self._is_terminal = sys.stderr.isatty()
        self._drawn_s = -_EVERY_S
        self._next_line = 0
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._last:
            sys.stderr.write("\n")
            sys.stderr.flush()

    def __call__(self, share: float, what: str) -> None:
        """Show it, unless something was shown a moment ago."""
        if self._quiet:
            return
        if self._is_terminal:
            self._draw(share, what)
        elif (number := int(share * _PLAIN_LINES + 1e-9)) >= self._next_line:
            self._next_line = number + 1
            elapsed_s = time.monotonic() - self._begin
            sys.stderr.write(f"{elapsed_s:6.1f} s  {share:4.0%}  {what}\n")
            sys.stderr.flush()

    def _draw(self, share: float, what: str) -> None:
        now = time.monotonic()
        if share < 1 and now - self._drawn_s < _EVERY_S:
            return
        self._drawn_s = now
        done = round(share * _WIDTH)
        bar = "#" * done + "." * (_WIDTH - done)
        line = f"[{bar}] {share:4.0%} {now - self._begin:5.0f} s  {what}"
        sys.stderr.write("\r" + line.ljust(len(self._last)))
        sys.stderr.flush()
        self._last = line
