"""Bytes at a given error, read off a few measured points; the points are shown with the figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from isthmus.errors import ConfigError

__all__ = ["Interpolated", "Point", "Reading", "bytes_at", "reading"]

Point = tuple[float, float]  # error, bytes
Reading = Literal["equal", "at most", "at least"]


@dataclass(frozen=True, slots=True)
class Interpolated:
    """Bytes at an error, and the measured points (error, bytes) below and above it.

    If not `inside`, the error lies outside what was measured: bytes and both points are then
    those of the nearest point, and no claim about that error.
    """

    bytes: float
    low_point: Point
    high_point: Point
    inside: bool


def bytes_at(error: float, curve: Sequence[Point]) -> Interpolated:
    """Bytes at `error` on a curve of measured (error, bytes) points in any order.

    Between the two neighbours bytes are linear in log(error), as rate is in log distortion for
    a quantiser at high rate (6.02 dB a bit). No logarithm reaches an error of 0: a lossless point
    answers only for error 0 itself. Of points with equal error the smallest counts.
    ConfigError for an empty curve, or an error that is negative or not finite.
    """
    if not curve or not all(_is_error(value) for value in (error, *(e for e, _ in curve))):
        raise ConfigError(
            f"error {error} on a curve of {len(curve)} points: needed are one point or more and "
            "errors that are finite and not negative"
        )
    points = _sorted_by_error(curve)
    for point in points:
        if point[0] == error:
            return Interpolated(point[1], point, point, inside=True)
    lossy = [point for point in points if point[0] > 0] or points
    for low, high in pairwise(lossy):
        if low[0] < error < high[0]:
            return Interpolated(_between(error, low, high), low, high, inside=True)
    nearest = lossy[0] if error < lossy[0][0] else lossy[-1]
    return Interpolated(nearest[1], nearest, nearest, inside=False)


def reading(error: float, curve: Sequence[Point]) -> Reading:
    """What bytes read off at `error` are: its own, or those of the nearest point.

    "at most": every point does less harm, so fewer bytes would do. "at least": every one does more.
    """
    if bytes_at(error, curve).inside:
        return "equal"
    return "at most" if error > max(point[0] for point in curve) else "at least"


def _is_error(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _sorted_by_error(curve: Sequence[Point]) -> list[Point]:
    smallest: dict[float, float] = {}
    for error, size in curve:
        smallest[error] = min(size, smallest.get(error, math.inf))
    return sorted(smallest.items())


def _between(error: float, low: Point, high: Point) -> float:
    share = math.log(error / low[0]) / math.log(high[0] / low[0])
    return low[1] + share * (high[1] - low[1])
