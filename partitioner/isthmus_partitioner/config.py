"""What the partitioner is told: goals, limits and knobs of a plan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from isthmus import ConfigError, PictureFormat
from isthmus_partitioner.planning.constraints import DEFAULT_GOALS, Goals
from isthmus_partitioner.planning.prices import DEFAULT_PRICES, Prices

__all__ = ["PlanConfig", "Progress", "UInt8Array"]

UInt8Array = NDArray[np.uint8]
Progress = Callable[[str], None]  # one line for each step; whoever prints it adds the time


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanConfig:
    """Limits and knobs of a plan.

    `goals` are what the plan is for and what it may not do, `prices` what energy and servers cost.
    `edge_factor` is how many times slower than this machine the device is; `edge_network_ms`,
    where given, sets that factor so that the whole head network takes this long.
    `divergence_budget` (nats, or share of the answer's energy) is what int8 may cost on items that
    ranges were not fitted to; the default is about what a JPEG of quality 95 costs a classifier.
    `integer_only`: the device computes nothing but integers. `steps` is the wire's ladder in
    standard deviations of a cut's tensor; `pictures` are the formats in which whole pictures may
    be sent, each in all `qualities` (1-100), and without loss if `lossless_pictures`.
    `bottleneck`: try a projection onto principal components at each cut of one tensor.
    """

    goals: Goals = DEFAULT_GOALS
    prices: Prices = DEFAULT_PRICES
    edge_factor: float = 1.0
    edge_network_ms: float | None = None
    steps: tuple[float, ...] = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 1)
    pictures: tuple[PictureFormat, ...] = ("jpeg", "webp", "avif")
    qualities: tuple[int, ...] = (95, 90, 85, 75)
    lossless_pictures: bool = False
    bottleneck: bool = True
    max_cuts: int = 5
    divergence_budget: float = 0.02
    integer_only: bool = False

    def __post_init__(self) -> None:
        self._check("edge_factor", self.edge_factor, _is_positive(self.edge_factor), "above 0")
        network_ms = self.edge_network_ms
        self._check(
            "edge_network_ms", network_ms, network_ms is None or _is_positive(network_ms), "above 0"
        )
        qualities = self.qualities
        in_range = bool(qualities) and all(1 <= quality <= 100 for quality in qualities)
        self._check("qualities", qualities, in_range and _distinct(qualities), "distinct, 1-100")
        formats = set(get_args(PictureFormat))
        # JPEG is what a split has to beat: no plan goes without it.
        known = "jpeg" in self.pictures and formats.issuperset(self.pictures)
        allowed = f"jpeg, and others of {', '.join(sorted(formats))}, each once"
        self._check("pictures", self.pictures, known and _distinct(self.pictures), allowed)
        steps = bool(self.steps) and all(_is_positive(step) for step in self.steps)
        self._check("steps", self.steps, steps and _distinct(self.steps), "distinct, above 0")
        self._check("max_cuts", self.max_cuts, self.max_cuts >= 0, "0 or more")
        budget = self.divergence_budget
        self._check("divergence_budget", budget, _is_positive(budget), "above 0")

    @property
    def agreement_floor(self) -> float:
        """Below it, a candidate is not offered to the policy."""
        return self.goals.min_agreement

    @staticmethod
    def _check(key: str, value: object, is_right: bool, allowed: str) -> None:
        if not is_right:
            raise ConfigError(f"{key} is {value}; allowed: {allowed}")


def _distinct(values: Sequence[object]) -> bool:
    return len(set(values)) == len(values)


def _is_positive(value: float) -> bool:
    return isfinite(value) and value > 0
