"""How close answers are to the reference's, and the face that every metric has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isthmus.agreement.confidence import interval_of_mean

__all__ = ["Answers", "AnyArray", "Closeness", "FloatArray", "Metric", "closeness_of"]

AnyArray = NDArray[np.generic]
Answers = Mapping[str, AnyArray]  # by name of output: [n,*shape]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Closeness:
    """How close n answers are to the reference's.

    `agreement` (0-1) with its 95 % confidence interval; `divergence` is the mean Kullback-Leibler
    divergence in nats where answers are distributions, the share of the detections' weight that
    was lost, made up or moved where they are boxes, else the share of the answers' energy that is
    error: |answer - reference|^2 / |reference|^2.
    """

    agreement: float
    low: float
    high: float
    divergence: float


class Metric(Protocol):
    """Compares answers; `name` is what a report calls the agreement, as "top-1"."""

    @property
    def name(self) -> str:
        """In a few words."""

    def closeness(
        self, reference: Answers, answers: Answers, sources: Sequence[str] = ()
    ) -> Closeness:
        """Of answers to the same n items; `sources[i]` is where item i comes from, if known."""


def closeness_of(
    agreement: FloatArray, divergence: FloatArray, sources: Sequence[str] = ()
) -> Closeness:
    """The means over n items of agreement (0-1 each) and divergence, with the interval."""
    mean = float(agreement.mean())
    low, high = interval_of_mean(agreement, sources)
    # Bounds and mean come by different sums: rounding must not swap them.
    return Closeness(mean, min(low, mean), max(high, mean), float(divergence.mean()))
