"""How long batches take, as it was measured when a graph was loaded."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

KNEE_GAIN = 0.05  # a doubling that saves less of an item's time is not worth its wait
SIZES = (1, 2, 4, 8, 16, 32)

__all__ = ["KNEE_GAIN", "SIZES", "UNMEASURED", "BatchTimes", "measured", "summed"]


@dataclass(frozen=True, slots=True)
class BatchTimes:
    """Wall times in ms of one batch, by size ascending; () where nothing was measured."""

    sizes: tuple[int, ...] = ()
    took_ms: tuple[float, ...] = ()

    @property
    def knee(self) -> int:
        """The greatest size to which each step saves at least `KNEE_GAIN` of an item's time;
        the greatest of `SIZES` where nothing was measured."""
        if not self.sizes:
            return SIZES[-1]
        knee = 0
        for index in range(1, len(self.sizes)):
            each = [self.took_ms[i] / self.sizes[i] for i in (knee, index)]
            if each[1] <= each[0] * (1 - KNEE_GAIN):
                knee = index
        return self.sizes[knee]

    def ms(self, size: int) -> float:
        """A batch of `size` items, interpolated; 0 where nothing was measured."""
        if not self.sizes:
            return 0.0
        above = bisect_left(self.sizes, size)
        if above == len(self.sizes):
            return self.took_ms[-1] * size / self.sizes[-1]
        if above == 0:
            return self.took_ms[0]
        low, high = self.sizes[above - 1], self.sizes[above]
        share = (size - low) / (high - low)
        return self.took_ms[above - 1] * (1 - share) + self.took_ms[above] * share


UNMEASURED = BatchTimes()


def summed(parts: Sequence[BatchTimes]) -> BatchTimes:
    """Those of graphs that run one after the other, at the sizes at which all were measured;
    nothing is known of the whole where one was not."""
    if not parts:
        return UNMEASURED
    sizes = tuple(size for size in parts[0].sizes if all(size in part.sizes for part in parts))
    return BatchTimes(sizes, tuple(sum(part.ms(size) for part in parts) for size in sizes))


def measured(
    took_ms: Callable[[int], float], sizes: Sequence[int] = SIZES, budget_ms: float = 500.0
) -> BatchTimes:
    """Time ascending sizes with `took_ms` until `budget_ms` is used up, or none pays any more."""
    times = BatchTimes()
    used_ms = 0.0
    for size in sizes:
        ms = took_ms(size)
        used_ms += ms
        times = BatchTimes((*times.sizes, size), (*times.took_ms, ms))
        # Two sizes beyond the knee: one may have been disturbed.
        stale = times.sizes.index(times.knee) < len(times.sizes) - 2
        if stale or used_ms >= budget_ms:
            break
    return times
