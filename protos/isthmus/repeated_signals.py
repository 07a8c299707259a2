"""A signal that is sent twice in one breath is one signal.

`timeout` sends each to its child and to the group, so the child gets two within milliseconds. A
second one that is meant, by somebody who has lost patience, comes later.
"""

import math
import time
from collections.abc import Callable

SAME_S = 0.5  # nobody loses patience sooner

__all__ = ["SAME_S", "Breaths"]


class Breaths:
    """Tells signals that are meant from those that only repeat the one before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_s = -math.inf

    def is_new(self) -> bool:
        """Whether the signal that came just now is meant: `SAME_S` after the last one that was."""
        now_s = self._clock()
        if now_s - self._last_s <= SAME_S:
            return False
        self._last_s = now_s
        return True
