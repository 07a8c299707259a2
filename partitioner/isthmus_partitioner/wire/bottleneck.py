"""Whether a projection onto principal components is worth its multiply-accumulates at a cut.

A projection packs the variance of correlated channels into few; the rest need not cross. Where it
wins depends on the network: the linear bottlenecks of mobile networks are packed already, wide
SiLU or residual tensors are not. So it is tried, and judged by bytes at equal KL on pictures that
nothing was fitted to.
"""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.wire.transform import Transform, principal

__all__ = ["Curve", "Verdict", "compare", "projections"]

Curve = Sequence[tuple[float, float]]  # (KL in nats, bytes) of each rung, the finest first

ENERGIES = (0.999, 0.99)  # shares of the variance that are kept
GAIN = 0.05  # it must save this share of the bytes: it costs time on both sides


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the best projection at a cut.

    `bytes_ratio` is its bytes over those of the cut as it is, at equal KL: the median over the
    rungs that both ladders cover, None where there are none. `extra_macs` fall on the device and
    once more in the cloud.
    """

    tensor: str
    channels: int
    kept_channels: int
    extra_macs: int
    bytes_ratio: float | None
    is_kept: bool


def projections(values: NDArray[np.float32]) -> Iterator[Transform]:
    """Projections of values [n,C,H,W] that keep nearly all of their variance."""
    seen = set()
    for energy in ENERGIES:
        transform = principal(values, energy)
        assert transform.components is not None
        if len(transform.components) not in seen:
            seen.add(len(transform.components))
            yield transform


def compare(transform: Transform, boundary: Boundary, plain: Curve, projected: Curve) -> Verdict:
    """Judge a projection by the two curves."""
    assert transform.components is not None
    ratios = [
        at_equal / size for kl, size in plain if (at_equal := _bytes_at(kl, projected)) is not None
    ]
    ratio = float(np.median(ratios)) if ratios else None
    return Verdict(
        tensor=boundary.tensor.name,
        channels=boundary.tensor.shape[0],
        kept_channels=len(transform.components),
        extra_macs=transform.extra_macs(boundary.tensor.shape),
        bytes_ratio=ratio,
        is_kept=ratio is not None and ratio < 1 - GAIN,
    )


def _bytes_at(kl: float, curve: Curve) -> float | None:
    """Bytes at a KL, log-linear between the two points around it; None outside of the curve."""
    points = sorted((max(error, 1e-9), size) for error, size in curve)
    errors = [error for error, _ in points]
    if not errors[0] <= kl <= errors[-1]:
        return None
    return float(np.interp(np.log(kl), np.log(errors), [size for _, size in points]))
