"""Agreement of distributions: classes, and lines of text that are read place by place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus.agreement.closeness import (
    Answers,
    AnyArray,
    Closeness,
    FloatArray,
    closeness_of,
)

__all__ = ["Classes", "Lines", "are_distributions"]

_TINY = 1e-9  # below float32's resolution of a probability; keeps the logarithm finite
_WORST = float(-np.log(_TINY))  # the divergence of an answer that is not even a number


@dataclass(frozen=True, slots=True)
class Classes:
    """The same first class; mean KL divergence in nats of the whole answer.

    `output` has a score for each class, as probabilities or as logits; dimensions of 1 do not
    matter.
    """

    output: str
    name: ClassVar[str] = "top-1"

    def closeness(
        self, reference: Answers, answers: Answers, sources: Sequence[str] = ()
    ) -> Closeness:
        """Of answers to the same n items."""
        wanted, got = (_by_class(each[self.output]) for each in (reference, answers))
        return closeness_of(*_compared(wanted, got, are_distributions(wanted)), sources)


@dataclass(frozen=True, slots=True)
class Lines:
    """The same text; mean KL divergence in nats of a place.

    `output` is [places,characters], probabilities or logits. A line is read as in connectionist
    temporal classification (Graves et al., 2006): the best character of each place, repetitions
    merged, then `blank` left out. Where it is None, it is what the reference has most often.
    """

    output: str
    blank: int | None = None
    name: ClassVar[str] = "equal texts"

    def closeness(
        self, reference: Answers, answers: Answers, sources: Sequence[str] = ()
    ) -> Closeness:
        """Of answers to the same n items."""
        wanted, got = reference[self.output], answers[self.output]
        best, found = wanted.argmax(axis=-1), got.argmax(axis=-1)
        blank = int(np.bincount(best.ravel()).argmax()) if self.blank is None else self.blank
        equal = [
            _text(places, blank) == _text(others, blank)
            for places, others in zip(best, found, strict=True)
        ]
        is_distribution = are_distributions(wanted[:1])
        pairs = zip(wanted, got, strict=True)  # one by one: an alphabet may have 18,000 characters
        divergence = [_compared(*pair, is_distribution)[1].mean() for pair in pairs]
        return closeness_of(np.array(equal, np.float64), np.array(divergence), sources)


def are_distributions(rows: AnyArray) -> bool:
    """Whether the last axis holds probabilities that add up to 1."""
    values = rows.astype(np.float64)
    is_positive = bool(values.min(initial=0.0) >= -_TINY)
    return is_positive and bool(np.allclose(values.sum(axis=-1), 1, atol=1e-3))


def _compared(
    reference: AnyArray, answers: AnyArray, is_distribution: bool
) -> tuple[FloatArray, FloatArray]:
    """For rows [n,classes]: 1 where the first class is the same, and the divergence in nats."""
    wanted, got = (_probabilities(rows, is_distribution) for rows in (reference, answers))
    # Kullback and Leibler: sum of p log(p/q)
    divergence = np.maximum(0, np.sum(wanted * np.log(wanted / got), axis=1))
    is_number = np.isfinite(reference.max(axis=1)) & np.isfinite(answers.max(axis=1))
    agrees = (wanted.argmax(axis=1) == got.argmax(axis=1)) & is_number
    return agrees.astype(np.float64), np.where(is_number, divergence, _WORST)


def _probabilities(rows: AnyArray, is_distribution: bool) -> FloatArray:
    values = rows.astype(np.float64)
    values[~np.isfinite(values.max(axis=1))] = 0
    if is_distribution:
        positive = np.maximum(values, _TINY)
    else:
        positive = np.exp(values - values.max(axis=1, keepdims=True))
    result: FloatArray = np.maximum(positive / positive.sum(axis=1, keepdims=True), _TINY)
    return result


def _by_class(rows: AnyArray) -> AnyArray:
    return rows.reshape(len(rows), -1)


def _text(best: NDArray[np.intp], blank: int) -> tuple[int, ...]:
    is_new = np.append(True, best[1:] != best[:-1])
    return tuple(int(index) for index in best[is_new] if index != blank)
