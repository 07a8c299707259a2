"""The last minute of something, in buckets of time; and the quantiles of times in little room."""

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

Bucket = TypeVar("Bucket")

STEPS_PER_DOUBLING = 8  # a quantile is right within 4.5 %
LEAST_MS = 0.01

__all__ = ["Recent", "add_time", "quantile_ms"]


class Recent(Generic[Bucket]):
    """The last `slots` spans of `slot_s` seconds; a bucket is made when something happens in one.

    Times are of one clock that does not go back; what comes late counts for the newest bucket.
    """

    def __init__(self, make: Callable[[], Bucket], *, slots: int = 60, slot_s: float = 1.0) -> None:
        self._make = make
        self._slots = slots
        self._slot_s = slot_s
        self._buckets: deque[tuple[int, Bucket]] = deque()

    def at(self, now_s: float) -> Bucket:
        """The bucket of this moment, for what happens now."""
        slot = int(now_s // self._slot_s)
        if not self._buckets or self._buckets[-1][0] < slot:
            self._forget_before(slot - self._slots)
            self._buckets.append((slot, self._make()))
        return self._buckets[-1][1]

    def all(self, now_s: float) -> list[Bucket]:
        """Those of the whole span, the one that is being filled too; the oldest first."""
        self._forget_before(int(now_s // self._slot_s) - self._slots)
        return [bucket for _, bucket in self._buckets]

    def span_s(self, now_s: float) -> float:
        """How much time `all` is about: the whole span, and what has gone of the bucket of now."""
        return self._slots * self._slot_s + now_s % self._slot_s

    def ended(self, now_s: float) -> list[Bucket | None]:
        """One for each span that has ended, the oldest first; None where nothing happened."""
        slot = int(now_s // self._slot_s)
        filled = dict(self._buckets)
        return [filled.get(each) for each in range(slot - self._slots, slot)]

    def _forget_before(self, slot: int) -> None:
        while self._buckets and self._buckets[0][0] < slot:
            self._buckets.popleft()


def add_time(times: "Counter[int]", time_ms: float) -> None:
    """Count a time; `times` holds logarithms, a hundred of them for ten thousand times."""
    times[round(STEPS_PER_DOUBLING * math.log2(max(time_ms, LEAST_MS)))] += 1


def quantile_ms(times: Mapping[int, int], share: float) -> float | None:
    """The time that `share` (0-1) of those counted did not exceed; None where nothing was."""
    left = share * sum(times.values())
    for step in sorted(times):
        left -= times[step]
        if left <= 0:
            return float(2.0 ** (step / STEPS_PER_DOUBLING))
    return None
