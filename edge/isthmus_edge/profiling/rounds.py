"""Rounds in which everything that is measured takes its turn."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus_edge.profiling.config import LEAST_ROUNDS
from isthmus_edge.profiling.session import Feed, Measured

__all__ = ["Spread", "clock_of", "run_rounds", "spread_of"]

Clock = Callable[[], float]
Times = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, 25th and 75th percentile in ms; `drift` of the last third against the first."""

    ms: float
    low_ms: float
    high_ms: float
    drift: float


def clock_of(threads: int) -> Clock:
    """Thread CPU time where one thread computes (neighbours hardly count), else wall time."""
    return time.thread_time if threads == 1 else time.perf_counter


def run_rounds(
    networks: Mapping[str, Measured],
    items: Sequence[Feed],
    times: Times,
    clock: Clock,
    go_on: Callable[[int], bool],
) -> None:
    """Add to the `times` (ms) of each network until all have the same number and `go_on` is False.

    The order is turned around in every other round, so that nobody always runs behind the same one.
    """
    for network in networks.values():
        network.run(items[0])  # a warm-up
    done = min(len(times.get(name, [])) for name in networks)
    while go_on(done) or done < LEAST_ROUNDS:
        item = items[done % len(items)]
        taken: dict[str, float] = {}
        for name in sorted(networks, reverse=done % 2 == 1):
            begin = clock()
            networks[name].run(item)
            taken[name] = (clock() - begin) * 1e3
        for name, ms in taken.items():  # a round counts when it is over
            times.setdefault(name, []).append(ms)
        done += 1


def spread_of(times: Sequence[float]) -> Spread:
    """Of the times of all rounds, in order."""
    low, middle, high = (float(value) for value in np.percentile(times, (25, 50, 75)))
    low, high = min(low, middle), max(high, middle)  # interpolation may be off by one bit
    third = max(1, len(times) // 3)
    first, last = float(np.median(times[:third])), float(np.median(times[-third:]))
    return Spread(middle, low, high, last / first - 1 if first > 0 else 0.0)
