"""What the partitioner is told: limits of the plan, and the pictures it may look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from isthmus import ConfigError, PictureFormat

__all__ = ["PictureSets", "PlanConfig", "Progress", "UInt8Array"]

UInt8Array = NDArray[np.uint8]
Progress = Callable[[str], None]  # one line for each step; whoever prints it adds the time

MIN_CALIBRATION_PICTURES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanConfig:
    """Limits and knobs of a plan.

    `edge_factor` is how many times slower than this machine the device is; `edge_network_ms`,
    where given, sets that factor so that the whole head network takes this long.
    `kl_budget` (nats) is what int8 may cost on pictures that ranges were not fitted to; the
    default is about what a JPEG of quality 95 costs a classifier. `fp32_layers` lists how many
    leading Conv/Gemm/MatMul layers the tried variants leave in fp32. `steps` is the wire's ladder
    in standard deviations of the cut's tensor; `pictures` are the formats in which whole pictures
    may be sent, each in all `qualities` (1-100), and without loss if `lossless_pictures`.
    `bottleneck`: try a projection onto principal components at each cut.
    """

    agreement_floor: float = 0.95
    edge_factor: float = 1.0
    edge_network_ms: float | None = None
    steps: tuple[float, ...] = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 1)
    pictures: tuple[PictureFormat, ...] = ("jpeg", "webp", "avif")
    qualities: tuple[int, ...] = (95, 90, 85, 75)
    lossless_pictures: bool = False
    bottleneck: bool = True
    max_cuts: int = 5
    kl_budget: float = 0.02
    fp32_layers: tuple[int, ...] = (0, 3, 6, 10, 15)

    def __post_init__(self) -> None:
        self._check("agreement_floor", self.agreement_floor, 0 <= self.agreement_floor <= 1, "0-1")
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
        self._check("kl_budget", self.kl_budget, _is_positive(self.kl_budget), "above 0")
        layers = self.fp32_layers
        counts = bool(layers) and all(n >= 0 for n in layers)
        self._check("fp32_layers", layers, counts, "one or more counts of 0 or more")

    @staticmethod
    def _check(key: str, value: object, is_right: bool, allowed: str) -> None:
        if not is_right:
            raise ConfigError(f"{key} is {value}; allowed: {allowed}")


def _distinct(values: Sequence[object]) -> bool:
    return len(set(values)) == len(values)


def _is_positive(value: float) -> bool:
    return isfinite(value) and value > 0


@dataclass(frozen=True, slots=True)
class PictureSets:
    """Pictures of two *different sources*, both uint8 [n,H,W,3] in the model's input size.

    Calibration pictures should come grouped by source: their last third is held back to choose
    the precision, and tells more the less it resembles the rest.
    """

    calibration: UInt8Array
    evaluation: UInt8Array

    def __post_init__(self) -> None:
        for name, least in (("calibration", MIN_CALIBRATION_PICTURES), ("evaluation", 1)):
            pictures: UInt8Array = getattr(self, name)
            is_pictures = pictures.ndim == 4 and pictures.shape[3] == 3
            if pictures.dtype != np.uint8 or not is_pictures or len(pictures) < least:
                raise ConfigError(
                    f"{name} pictures are {pictures.dtype} {list(pictures.shape)}; "
                    f"needed: uint8 [n,H,W,3] with n of at least {least}"
                )

    @property
    def fitted(self) -> UInt8Array:
        """The calibration pictures that ranges, steps and biases are fitted to."""
        return self.calibration[: -self._held_back]

    @property
    def held_back(self) -> UInt8Array:
        """The calibration pictures on which fitted things are compared."""
        return self.calibration[-self._held_back :]

    @property
    def _held_back(self) -> int:
        return max(1, len(self.calibration) // 3)
