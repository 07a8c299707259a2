"""Agreement of answers that are no distributions: by the angle between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.agreement.closeness import (
    Answers,
    AnyArray,
    Closeness,
    FloatArray,
    closeness_of,
)
from isthmus.tensors import (
    TensorSpec,
)

__all__ = ["Tensors", "Vectors", "is_float"]

LEAST_COSINE = 0.99


def is_float(spec: TensorSpec) -> bool:
    """Whether a tensor holds real numbers."""
    return spec.data_type.startswith("float")


@dataclass(frozen=True, slots=True)
class Tensors:
    """A cosine of 0.99 or more between all float outputs, and whatever is no float the same.

    Every output weighs the same: each is divided by the length of the reference's, item by item.
    The divergence is the share of error in the energy; where no output is a float, the share of
    values that are not the same.
    """

    outputs: tuple[TensorSpec, ...]
    name: ClassVar[str] = "cosine"

    def closeness(
        self, reference: Answers, answers: Answers, sources: Sequence[str] = ()
    ) -> Closeness:
        """Of answers to the same n items."""
        floats = [spec.name for spec in self.outputs if is_float(spec)]
        others = [spec.name for spec in self.outputs if not is_float(spec)]
        different = [_different(reference[name], answers[name]) for name in others]
        agrees = np.equal(sum(different), 0)
        if not floats:
            return closeness_of(agrees.astype(np.float64), np.mean(different, axis=0), sources)
        pairs = [_scaled(reference[name], answers[name]) for name in floats]
        wanted, got = (np.concatenate(each, axis=1) for each in zip(*pairs, strict=True))
        is_near, divergence = _compared(wanted, got)
        return closeness_of((agrees & is_near).astype(np.float64), divergence, sources)


@dataclass(frozen=True, slots=True)
class Vectors:
    """A cosine of 0.99 or more between vectors of which only the direction counts (embeddings).

    The divergence is the share of error in the energy when both have the length 1.
    """

    output: str

    @property
    def name(self) -> str:
        """With its output: where there are several, the others do not count."""
        return f"{Tensors.name} of {self.output}"

    def closeness(
        self, reference: Answers, answers: Answers, sources: Sequence[str] = ()
    ) -> Closeness:
        """Of answers to the same n items."""
        wanted, got = (_unit(_rows(each[self.output])) for each in (reference, answers))
        is_near, divergence = _compared(wanted, got)
        return closeness_of(is_near.astype(np.float64), divergence, sources)


def _compared(wanted: FloatArray, got: FloatArray) -> tuple[AnyArray, FloatArray]:
    """For rows [n,features]: whether they point the same way, and the share of error.

    What is not a finite number in both is left out; where it is in one, the answers differ.
    """
    in_both = np.isfinite(wanted) & np.isfinite(got)
    is_whole = (np.isfinite(wanted) == np.isfinite(got)).all(axis=1)
    wanted, got = (np.where(in_both, rows, 0) for rows in (wanted, got))
    energy, other = (np.square(rows).sum(axis=1) for rows in (wanted, got))
    error = np.square(got - wanted).sum(axis=1)
    product = np.sum(wanted * got, axis=1)
    # Two answers of zero are the same; cos >= c without a division.
    is_near = (product >= LEAST_COSINE * np.sqrt(energy * other)) & ((energy > 0) == (other > 0))
    share = np.where(energy > 0, error / np.where(energy > 0, energy, 1), other > 0)
    return is_near & is_whole, np.where(is_whole, share, np.maximum(share, 1))


def _scaled(reference: AnyArray, answers: AnyArray) -> tuple[FloatArray, FloatArray]:
    """Both as rows in lengths of the reference's rows."""
    wanted, got = _rows(reference), _rows(answers)
    length = _length(wanted)
    return wanted / length, got / length


def _unit(rows: FloatArray) -> FloatArray:
    result: FloatArray = rows / _length(rows)
    return result


def _length(rows: FloatArray) -> FloatArray:
    lengths = np.sqrt(np.square(np.where(np.isfinite(rows), rows, 0)).sum(axis=1, keepdims=True))
    result: FloatArray = np.where(lengths > 0, lengths, 1)
    return result


def _rows(array: AnyArray) -> FloatArray:
    return array.reshape(len(array), -1).astype(np.float64)


def _different(reference: AnyArray, answers: AnyArray) -> FloatArray:
    """The share of values that are not the same, item by item."""
    wanted, got = (each.reshape(len(each), -1) for each in (reference, answers))
    result: FloatArray = np.mean(wanted != got, axis=1) if wanted.shape[1] else np.zeros(len(got))
    return result
