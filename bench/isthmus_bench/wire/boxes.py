"""From the answer of a YOLOX detector of one class to boxes, and how well two sets of them agree.

Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430: one row for each cell of the
grids of stride 8, 16 and 32, as `isthmus_models.glyph_detector` describes it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Detections", "candidates", "f1_score", "overlap", "strongest"]

FloatArray = NDArray[np.float64]

STRIDES = (8, 16, 32)
LEAST_SCORE = 0.1  # both thresholds are those of the detector's own package
MOST_OVERLAP = 0.45
MATCH = 0.5  # intersection over union of a box that counts as found
_LARGEST_LOG = 10.0  # 22,000 strides; beyond it noise on the wire would overflow


@dataclass(frozen=True, slots=True)
class Detections:
    """`boxes` [n,4], left, top, right, bottom in pixels, and `scores` [n] from 0 to 1."""

    boxes: FloatArray
    scores: FloatArray


def candidates(answer: NDArray[np.generic], size: int) -> Detections:
    """All cells of one answer [cells,6] for a square picture of `size` pixels."""
    rows = answer.astype(np.float64)
    corners, strides = _grid(size)
    centres = (rows[:, :2] + corners) * strides
    halves = np.exp(np.minimum(rows[:, 2:4], _LARGEST_LOG)) * strides / 2
    return Detections(np.hstack([centres - halves, centres + halves]), rows[:, 4] * rows[:, 5])


def strongest(found: Detections) -> FloatArray:
    """The boxes that remain of the candidates, best first: non-maximum suppression."""
    order = np.argsort(-found.scores, kind="stable")
    left = found.boxes[order[found.scores[order] > LEAST_SCORE]]
    kept: list[FloatArray] = []
    while len(left):
        kept.append(left[0])
        left = left[1:][overlap(left[1:], left[0]) <= MOST_OVERLAP]
    return np.array(kept).reshape(-1, 4)


def overlap(boxes: FloatArray, other: FloatArray) -> FloatArray:
    """Intersection over union (0-1) of `boxes` with `other`, row by row as numpy broadcasts."""
    sides = np.minimum(boxes[..., 2:], other[..., 2:]) - np.maximum(boxes[..., :2], other[..., :2])
    common = np.maximum(sides, 0).prod(axis=-1)
    union = _areas(boxes) + _areas(other) - common
    return np.asarray(common / np.maximum(union, 1e-12))


def f1_score(wanted: FloatArray, got: FloatArray) -> float:
    """Harmonic mean of precision and recall (0-1); boxes are paired in the order of `got`.

    1 where both are empty: nothing was to be found and nothing was.
    """
    free = list(wanted)
    hits = 0
    for box in got:
        shares = overlap(np.array(free).reshape(-1, 4), box)
        if len(shares) and shares.max() >= MATCH:
            del free[int(shares.argmax())]
            hits += 1
    total = len(wanted) + len(got)
    return 2 * hits / total if total else 1.0


def _areas(boxes: FloatArray) -> FloatArray:
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).prod(axis=-1))


def _grid(size: int) -> tuple[FloatArray, FloatArray]:
    """Column and row [cells,2], and stride [cells,1], of every cell."""
    corners, strides = [], []
    for stride in STRIDES:
        cells = size // stride
        rows, columns = np.indices((cells, cells), np.float64)
        corners.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((cells * cells, 1), float(stride)))
    return np.concatenate(corners), np.concatenate(strides)
