"""Made-up traces, for whoever has no measured ones."""

import math
from collections.abc import Sequence

import numpy as np

from isthmus_bench.traces.trace import Trace

__all__ = ["builtin_traces"]


def builtin_traces() -> tuple[Trace, ...]:
    """Made-up traces that are always there, the same in every run; none was measured.

    `steps`: 10 s each at seven rates from 1 to 50 Mbit/s. `outage`: 8 Mbit/s with gaps of 2, 5 and
    10 s. `drive`: four levels from 0.4 to 12 Mbit/s that follow one another as a Markov chain with
    fading and short gaps, as LTE in a car does. `sawtooth`: ramps of 15 s from 0.5 to 20 Mbit/s.
    """
    return (_steps(), _outage(), _drive(), _sawtooth())


def _steps() -> Trace:
    rates = (20.0, 5.0, 50.0, 2.0, 10.0, 1.0, 30.0)
    return Trace("steps", tuple(10.0 * row for row in range(len(rates))), rates, 40.0)


def _outage() -> Trace:
    gaps_s = ((12, 14), (30, 35), (55, 65))
    mbps = [0.0 if any(a <= s < b for a, b in gaps_s) else 8.0 for s in range(80)]
    return _evenly("outage", 1.0, mbps, 40.0)


def _drive() -> Trace:
    """Levels change every 4 s in the mean, mostly to a neighbour; fading is AR(1) in log rate."""
    levels_mbps, step_s, seconds = (0.4, 2.0, 6.0, 12.0), 0.2, 90
    chance = np.random.default_rng(7)
    level, fade, gap_steps, mbps = 2, 0.0, 0, []
    for _ in range(round(seconds / step_s)):
        if chance.random() < step_s / 4:
            level = min(
                3, max(0, level + int(chance.choice((-2, -1, 1, 2), p=(0.1, 0.4, 0.4, 0.1))))
            )
        if chance.random() < step_s / 25:
            gap_steps = int(chance.integers(2, 11))
        fade = 0.8 * fade + 0.2 * float(chance.standard_normal())
        gap_steps = max(0, gap_steps - 1)
        mbps.append(0.0 if gap_steps else round(levels_mbps[level] * math.exp(fade), 3))
    return _evenly("drive", step_s, mbps, 60.0)


def _sawtooth() -> Trace:
    step_s, ramp_s = 0.5, 15.0
    steps = round(ramp_s / step_s)
    up = [round(0.5 + 19.5 * row / (steps - 1), 3) for row in range(steps)]
    return _evenly("sawtooth", step_s, [*up, *reversed(up)] * 2, 40.0)


def _evenly(name: str, step_s: float, mbps: Sequence[float], rtt_ms: float) -> Trace:
    times_s = tuple(round(step_s * row, 6) for row in range(len(mbps)))
    return Trace(name, times_s, tuple(mbps), rtt_ms)
