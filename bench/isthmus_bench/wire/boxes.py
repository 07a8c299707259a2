"""From the answer of a YOLOX detector of one class to boxes, and how well two sets of them agree.

Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430: one row for each cell of the
grids of stride 8, 16 and 32, as `isthmus_models.glyph_detector` describes it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.agreement import detection
from isthmus.agreement.detection import overlap
from isthmus.agreement.layouts import yolox_cells

__all__ = ["Detections", "candidates", "f1_score", "overlap", "strongest"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Detections:
    """`boxes` [n,4], left, top, right, bottom in pixels, and `scores` [n] from 0 to 1."""

    boxes: FloatArray
    scores: FloatArray


def candidates(answer: NDArray[np.generic], size: int) -> Detections:
    """All cells of one answer [cells,6] for a square picture of `size` pixels."""
    cells = yolox_cells(answer, size, size)
    return Detections(cells[:, :4], cells[:, 4])


def strongest(found: Detections) -> FloatArray:
    """The boxes that remain of the candidates, best first: non-maximum suppression."""
    return detection.strongest(_rows(found.boxes, found.scores))[:, :4]


def f1_score(wanted: FloatArray, got: FloatArray) -> float:
    """Harmonic mean of precision and recall (0-1); boxes are paired in the order of `got`.

    1 where both are empty: nothing was to be found and nothing was.
    """
    return detection.f1_score(_rows(wanted, np.ones(len(wanted))), _rows(got, np.ones(len(got))))


def _rows(boxes: FloatArray, scores: FloatArray) -> FloatArray:
    """As the contract has them: with a score and the only class."""
    return np.column_stack([boxes, scores, np.zeros(len(boxes))])
