"""What is believed of a link's bandwidth: probabilities on a grid of its logarithm.

Between messages the bandwidth drifts (Gaussian) and now and then jumps (Laplace, or to anywhere).
Together this is a Lévy process: what it makes of a belief in any time is one product in the Fourier
domain. With the jumps as change points this is the detector of Adams and MacKay (2007) for the case
that the state itself tells how a segment goes on, so that no run lengths are kept; the grid is that
of Sprout (Winstein et al., NSDI 2013). Three kinds of link are believed in side by side, from calm
to wild. Each foresees another drift and another scatter of the single messages, and gains or loses
weight by what it foresaw: so the scatter of this link is learned within sane bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
import numpy.typing as npt

__all__ = ["Belief", "Overdue", "Service"]

_Array = npt.NDArray[np.float64]

_POINTS = 512
_STEP = 0.04
_LN_BPS: _Array = log(100.0) + _STEP * np.arange(
    _POINTS, dtype=np.float64
)  # 100 bit/s to 75 Gbit/s
_SECONDS_PER_BIT: _Array = np.exp(-_LN_BPS)
_PRIOR_LN_BPS, _PRIOR_SPREAD = log(10e6), 2.0

_SCATTER: _Array = np.array([[0.04], [0.1], [0.4]])  # of one message, by kind of link
_DRIFT: _Array = np.array([[0.03], [0.15], [0.4]])  # a square root of second
_JUMPS_PER_S: _Array = np.array([[0.2], [0.4], [0.8]])
_JUMP = 0.8
_JUMPS_ANYWHERE = 0.15
_KINDS = len(_SCATTER)
_OTHER_KIND_PER_S = 0.1
_MEMORY_S = 8.0  # more silence than this adds no more doubt: a link stays within its means

_LATE, _LATE_S = 0.05, 0.05  # messages that a stall delays, and by how much
_EARLY = 0.02  # messages that came through sooner than the link could: stamps, buffers
_HELD_UP, _HELD_UP_S = 0.02, 0.1  # acknowledgements that something else delays
_NEVER = 1e-12
_AHEAD_S = 0.3
_LEVELS: _Array = np.array([0.1, 0.5, 0.9])
_TAIL_DEVIATIONS = 1.2816  # of a Gaussian, from its median to such a tail


@dataclass(frozen=True, slots=True)
class Service:
    """The link served `bits` in `took_s`, a time known to `noise_s` (standard deviation)."""

    bits: float
    took_s: float
    noise_s: float


@dataclass(frozen=True, slots=True)
class Overdue:
    """For `waited_s` the link could have served `bits`, and no acknowledgement has come."""

    bits: float
    waited_s: float
    noise_s: float


def _decay_per_s() -> _Array:
    """How fast each wave of a belief fades, by kind (Lévy-Khinchin)."""
    waves = 2 * np.pi * np.fft.rfftfreq(_POINTS, _STEP)
    jumped = (1 - _JUMPS_ANYWHERE) / (1 + (_JUMP * waves) ** 2)
    jumped[0] = 1.0  # whatever jumps stays on the grid
    decay: _Array = 0.5 * (_DRIFT * waves) ** 2 + _JUMPS_PER_S * (1 - jumped)
    return decay


_DECAY_PER_S = _decay_per_s()


class Belief:
    """Begins with what is known of links in general."""

    def __init__(self) -> None:
        prior = np.exp(-0.5 * ((_LN_BPS - _PRIOR_LN_BPS) / _PRIOR_SPREAD) ** 2)
        self._p: _Array = np.tile(prior / prior.sum() / _KINDS, (_KINDS, 1))

    def learn(self, service: Service, passed_s: float) -> None:
        """A message got through, `passed_s` after the one before."""
        p = self._after(passed_s) * _likelihood(service)
        self._p = p / p.sum()

    def expect(self, passed_s: float, overdue: Sequence[Overdue] = ()) -> tuple[float, float]:
        """(median, spread) of the logarithm of the bandwidth (bit/s) `passed_s` after a message.

        That is: of what the next message will meet, `_AHEAD_S` later.
        The spread is the half width of the 80 % interval in standard deviations of a Gaussian.
        """
        p = self._after(passed_s + _AHEAD_S)
        if overdue:
            p = p * np.minimum.reduce([_patience(one) for one in overdue])
        low, median, high = _quantiles(p)
        return median, (high - low) / (2 * _TAIL_DEVIATIONS)

    def median_bps(self) -> float:
        """What was believed at the last message."""
        return exp(_quantiles(self._p)[1])

    def _after(self, passed_s: float) -> _Array:
        if passed_s <= 0:
            return self._p
        passed_s = _MEMORY_S * (1 - exp(-passed_s / _MEMORY_S))
        waves = np.fft.rfft(self._p, axis=1) * np.exp(-passed_s * _DECAY_PER_S)
        p: _Array = np.maximum(np.fft.irfft(waves, _POINTS, axis=1), 1e-15)
        same = exp(-passed_s * _OTHER_KIND_PER_S)
        mixed: _Array = same * p + (1 - same) / _KINDS * p.sum(axis=0)
        return mixed


def _quantiles(p: _Array) -> tuple[float, float, float]:
    """Low tail, median and high tail of ln(bit/s)."""
    cumulated = np.cumsum(p.sum(axis=0))
    low, median, high = np.interp(_LEVELS * cumulated[-1], cumulated, _LN_BPS + _STEP / 2)
    return float(low), float(median), float(high)


def _likelihood(service: Service) -> _Array:
    """Density of the time that was taken, by kind and bandwidth. Its tails are heavy, so that no
    single message overturns the belief."""
    expected_s = service.bits * _SECONDS_PER_BIT
    over_s: _Array = service.took_s - expected_s
    variance = service.noise_s**2 + (_SCATTER * expected_s) ** 2
    usual = np.exp(-0.5 * over_s**2 / variance) / np.sqrt(2 * np.pi * variance)
    late = 2 * _LATE / _LATE_S / (1 + np.maximum(over_s, 0) / _LATE_S) ** 3
    early = _EARLY / (expected_s + service.noise_s)
    density: _Array = (1 - _LATE - _EARLY) * usual + np.where(over_s > 0, late, early)
    return density


def _patience(overdue: Overdue) -> _Array:
    """Probability that there is no acknowledgement yet, by kind and bandwidth."""
    expected_s = overdue.bits * _SECONDS_PER_BIT
    over_s: _Array = overdue.waited_s - expected_s
    deviations = over_s / np.sqrt(overdue.noise_s**2 + (_SCATTER * expected_s) ** 2)
    usual = 1 / (1 + np.exp(np.clip(1.702 * deviations, -40, 40)))  # nearly the normal curve
    held_up = _HELD_UP * np.exp(-np.maximum(over_s, 0) / _HELD_UP_S)
    patience: _Array = np.maximum(usual + (1 - usual) * held_up, _NEVER)
    return patience
