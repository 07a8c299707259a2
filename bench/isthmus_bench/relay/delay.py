"""What one direction adds behind its bottleneck: a delay, jitter and stalls. No clock in here."""

import math

import numpy as np

from isthmus_bench.relay.shape import LinkShape

__all__ = ["Delay", "Stalls"]


class Stalls:
    """Moments in which nothing arrives: exponential gaps, all stalls of one length."""

    def __init__(self, per_s: float, stall_s: float, begin_s: float, chance: np.random.Generator):
        self._per_s = per_s
        self._stall_s = stall_s
        self._chance = chance
        self._from_s = math.inf
        self._until_s = begin_s
        self._next()

    def end_s(self, time_s: float) -> float:
        """`time_s`, or the end of the stall it falls into; to be asked with times that rise."""
        while self._until_s <= time_s:
            self._next()
        return self._until_s if self._from_s <= time_s else time_s

    def _next(self) -> None:
        gap_s = float(self._chance.exponential(1 / self._per_s)) if self._per_s > 0 else math.inf
        self._from_s = self._until_s + gap_s
        self._until_s = self._from_s + self._stall_s


class Delay:
    """When what left the bottleneck arrives; in the order in which it left.

    `direction` (0 or 1) gives each direction draws of its own.
    """

    def __init__(self, shape: LinkShape, direction: int, begin_s: float) -> None:
        self._delay_s = shape.rtt_ms / 2000
        self._jitter_s = shape.jitter_ms / 2000
        jitter_seed, stall_seed = np.random.SeedSequence((shape.seed, direction)).spawn(2)
        self._chance = np.random.default_rng(jitter_seed)
        self._stalls = Stalls(
            shape.stalls_per_s, shape.stall_ms / 1e3, begin_s, np.random.default_rng(stall_seed)
        )
        self._last_s = -math.inf

    def due_s(self, departed_s: float) -> float:
        """The time of arrival of the next chunk, which left at `departed_s`."""
        due_s = departed_s + self._delay_s
        if self._jitter_s > 0:
            due_s += self._jitter_s * float(self._chance.random())
        self._last_s = self._stalls.end_s(max(self._last_s, due_s))
        return self._last_s
