"""Agreement of detectors: their boxes are compared, for raw answers say little about them.

Boxes are rows of six numbers: left, top, right, bottom in pixels, score (0-1), class.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.agreement.closeness import (
    Answers,
    AnyArray,
    Closeness,
    FloatArray,
    closeness_of,
)

__all__ = ["Boxes", "Decode", "Detections", "LaidOut", "f1_score", "overlap", "strongest"]

Boxes = FloatArray  # [n,6]
Decode = Callable[[Answers], Sequence[Boxes]]  # for each item, what remains after suppression

LEAST_SCORE = 0.1
MOST_OVERLAP = 0.45
MATCH = 0.5


@dataclass(frozen=True, slots=True)
class LaidOut:
    """A `Decode` of a layout that has a name: `read` makes boxes of one item of an output."""

    layout: str
    output: str
    read: Callable[[AnyArray], Boxes]

    def __call__(self, answers: Answers) -> Sequence[Boxes]:
        """See `Decode`."""
        return [self.read(rows) for rows in answers[self.output]]


@dataclass(frozen=True, slots=True)
class Detections:
    """F1 of boxes of the same class that overlap by `match` or more, averaged over items.

    The divergence is (sum |s' - s| + sum s (1 - IoU)) / sum s over the boxes of all items, s being
    a score and IoU the overlap of two that belong together: the share of the detections' weight
    that was lost, made up or moved.
    """

    decode: Decode
    match: float = MATCH

    @property
    def name(self) -> str:
        """With its threshold and, where it has a name, the boxes' layout."""
        words = f"F1 at IoU {self.match:g}"
        if isinstance(self.decode, LaidOut):
            return f"{words}, {self.decode.layout} boxes"
        return words

    def closeness(
        self, reference: Answers, answers: Answers, sources: Sequence[str] = ()
    ) -> Closeness:
        """Of answers to the same n items."""
        pairs = list(zip(self.decode(reference), self.decode(answers), strict=True))
        agreement = np.array([f1_score(wanted, got, self.match) for wanted, got in pairs])
        moved = np.array([_moved(wanted, got, self.match) for wanted, got in pairs])
        weight = sum(float(wanted[:, 4].sum()) for wanted, _ in pairs) / len(pairs)
        return closeness_of(agreement, moved / max(weight, 1e-12), sources)


def strongest(
    boxes: Boxes, least_score: float = LEAST_SCORE, most_overlap: float = MOST_OVERLAP
) -> Boxes:
    """The boxes that remain of [n,6], best first: non-maximum suppression, class by class."""
    order = np.argsort(-boxes[:, 4], kind="stable")
    left = boxes[order[boxes[order, 4] > least_score]]
    kept: list[FloatArray] = []
    while len(left):
        kept.append(left[0])
        is_other = left[1:, 5] != left[0, 5]
        left = left[1:][is_other | (overlap(left[1:, :4], left[0, :4]) <= most_overlap)]
    return np.array(kept).reshape(-1, 6)


def overlap(boxes: FloatArray, other: FloatArray) -> FloatArray:
    """Intersection over union (0-1) of `boxes` with `other`, row by row as numpy broadcasts.

    The last axis holds left, top, right, bottom.
    """
    sides = np.minimum(boxes[..., 2:], other[..., 2:]) - np.maximum(boxes[..., :2], other[..., :2])
    common = np.maximum(sides, 0).prod(axis=-1)
    union = _areas(boxes) + _areas(other) - common
    return np.asarray(common / np.maximum(union, 1e-12))


def f1_score(wanted: Boxes, got: Boxes, match: float = MATCH) -> float:
    """Harmonic mean of precision and recall (0-1) of boxes [n,6] and [m,6].

    1 where both are empty: nothing was to be found and nothing was.
    """
    total = len(wanted) + len(got)
    return 2 * len(list(_pairs(wanted, got, match))) / total if total else 1.0


def _pairs(wanted: Boxes, got: Boxes, match: float) -> Iterator[tuple[int, int, float]]:
    """Which belong together, and how much they overlap; in the order of `got`."""
    is_free = np.ones(len(wanted), bool)
    for index, box in enumerate(got):
        fits = is_free & (wanted[:, 5] == box[5])
        shares = np.where(fits, overlap(wanted[:, :4], box[:4]), 0.0)
        if len(shares) and shares.max() >= match:
            best = int(shares.argmax())
            is_free[best] = False
            yield best, index, float(shares[best])


def _moved(wanted: Boxes, got: Boxes, match: float) -> float:
    """The weight of what was lost, made up or moved."""
    weight = float(wanted[:, 4].sum() + got[:, 4].sum())
    for one, other, share in _pairs(wanted, got, match):
        score, found = wanted[one, 4], got[other, 4]
        weight += float(abs(found - score) + score * (1 - share) - score - found)
    return max(0.0, weight)


def _areas(boxes: FloatArray) -> FloatArray:
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).prod(axis=-1))
