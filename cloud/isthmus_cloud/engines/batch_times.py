"""How long batches take, as it was measured when a graph was loaded."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

KNEE_GAIN = 0.1  # a doubling that saves less of an item's time is not worth its wait
HANDOVER_MS = 0.5  # what a batch of any size costs beside its run: threads that wake each other
SIZES = (1, 2, 4, 8, 16, 32)

_LEAST_SIZES = 3  # one may be disturbed
_LONG = 10  # a run that takes more than this part of the budget is long
_TURNS = 8

__all__ = ["HANDOVER_MS", "KNEE_GAIN", "SIZES", "UNMEASURED", "BatchTimes", "measured", "summed"]


@dataclass(frozen=True, slots=True)
class BatchTimes:
    """Wall times in ms of one batch, by size ascending; () where nothing was measured."""

    sizes: tuple[int, ...] = ()
    took_ms: tuple[float, ...] = ()

    @property
    def knee(self) -> int:
        """The greatest size to which each step saves at least `KNEE_GAIN` of an item's time, its
        share of `HANDOVER_MS` counted; the greatest of `SIZES` where nothing was measured."""
        if not self.sizes:
            return SIZES[-1]
        knee = 0
        for index in range(1, len(self.sizes)):
            each = [(self.took_ms[i] + HANDOVER_MS) / self.sizes[i] for i in (knee, index)]
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
    run: Callable[[int], Mapping[str, float]],
    sizes: Sequence[int] = SIZES,
    budget_ms: float = 500.0,
) -> dict[str, BatchTimes]:
    """The shortest times of all parts, by name, from batches of all sizes in turns: whatever else
    runs here only makes a run longer, and so it meets all sizes.

    `run` runs a batch of a size and returns what each part took, in ms. The first of each size does
    not count: it sets up memory, and on a GPU looks for kernels. Of what counts, nothing is begun
    any more when `budget_ms` is used up, but for one turn of the first three sizes; those of which
    a run takes more than a tenth of it are left out, if there are three without them.
    """
    best: defaultdict[str, dict[int, float]] = defaultdict(dict)
    used_ms = 0.0
    tried: list[int] = []

    def note(size: int) -> float:
        took = run(size)
        for name, ms in took.items():
            best[name][size] = min(ms, best[name].get(size, ms))
        return sum(took.values())

    for size in sizes:
        run(size)
        ms = note(size)
        used_ms += ms
        tried.append(size)
        if len(tried) >= _LEAST_SIZES and (ms > budget_ms / _LONG or used_ms > budget_ms):
            break
    for _ in range(_TURNS):
        for size in tried:
            if used_ms > budget_ms:
                break
            used_ms += note(size)
    return {name: BatchTimes(tuple(ms), tuple(ms.values())) for name, ms in best.items()}
