"""How far answers are from those of the unsplit fp32 network, for each kind of network.

`error` is smooth and 0 for equal answers: sizes are compared at equal error. `agreement` is the
share of answers that a user would call the same. Neither needs labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.agreement.classification import Classes, Lines
from isthmus_bench.wire.boxes import Detections, candidates, f1_score, overlap, strongest

__all__ = ["Score", "score_boxes", "score_classes", "score_lines", "score_sentences"]

AnyArray = NDArray[np.generic]
FloatArray = NDArray[np.float64]

_NO_CHARACTER = 0
_ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Score:
    """`error` from 0 up, in the unit of the function that made it; `agreement` from 0 to 1."""

    error: float
    agreement: float


def score_classes(reference: AnyArray, answers: AnyArray) -> Score:
    """Classifiers, [n,classes]: mean KL divergence in nats; share of equal top-1 answers."""
    close = Classes(_ANSWER).closeness({_ANSWER: reference}, {_ANSWER: answers})
    return Score(close.divergence, close.agreement)


def score_lines(reference: AnyArray, answers: AnyArray) -> Score:
    """Readers, [n,places,characters]: mean KL divergence in nats of a place; share of equal lines.

    A line is read as in connectionist temporal classification (Graves et al., 2006): the best
    character of each place, repetitions merged, then index 0 left out.
    """
    metric = Lines(_ANSWER, blank=_NO_CHARACTER)
    close = metric.closeness({_ANSWER: reference}, {_ANSWER: answers})
    return Score(close.divergence, close.agreement)


def score_sentences(reference: AnyArray, answers: AnyArray) -> Score:
    """Encoders, vectors [n,features], n of 3 or more: mean of 1 - cosine; equal nearest neighbours.

    The neighbour of a vector is the other reference vector with the largest cosine, as if the
    unsplit model had filled a search index and the split one asked it.
    """
    wanted, got = _unit(reference), _unit(answers)
    error = 1 - np.sum(wanted * got, axis=1).mean()
    agreement = np.mean(_nearest(wanted, wanted) == _nearest(got, wanted))
    return Score(max(0.0, float(error)), float(agreement))


def score_boxes(reference: AnyArray, answers: AnyArray, *, picture_size: int) -> Score:
    """YOLOX detectors, [n,cells,6] for square pictures of `picture_size` pixels.

    `error` is `(sum|s' - s| + sum s(1 - IoU)) / sum s` over the cells of all pictures, s being the
    score of a cell and IoU that of its two boxes: the share of the detections' weight that was
    lost, made up or moved. `agreement` is the mean F1 score at IoU 0.5 of the
    boxes against those of the reference.
    """
    pairs = [
        (candidates(wanted, picture_size), candidates(got, picture_size))
        for wanted, got in zip(reference, answers, strict=True)
    ]
    total = sum(float(wanted.scores.sum()) for wanted, _ in pairs)
    error = sum(_moved_weight(*pair) for pair in pairs) / max(total, 1e-12)
    agreement = np.mean([f1_score(strongest(wanted), strongest(got)) for wanted, got in pairs])
    return Score(error, float(agreement))


def _moved_weight(wanted: Detections, got: Detections) -> float:
    weights = wanted.scores
    strayed = weights * (1 - overlap(wanted.boxes, got.boxes))
    return float(np.abs(got.scores - weights).sum() + strayed.sum())


def _unit(vectors: AnyArray) -> FloatArray:
    rows = vectors.astype(np.float64)
    result: FloatArray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return result


def _nearest(queries: FloatArray, index: FloatArray) -> NDArray[np.intp]:
    cosines = queries @ index.T
    np.fill_diagonal(cosines, -np.inf)
    nearest: NDArray[np.intp] = cosines.argmax(axis=1)
    return nearest
