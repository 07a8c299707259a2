"""Which of a network's outputs a metric can read."""

from collections.abc import Callable, Sequence

from isthmus.agreement.distance import is_float
from isthmus.tensors import (
    TensorSpec,
)

LEAST_CHARACTERS = 8

__all__ = ["first_fitting", "is_line", "is_row", "is_vector"]


def first_fitting(outputs: Sequence[TensorSpec], fits: Callable[[TensorSpec], bool]) -> str | None:
    """The name of the first output that fits."""
    return next((spec.name for spec in outputs if fits(spec)), None)


def is_row(spec: TensorSpec) -> bool:
    """One dimension of two values or more; others of 1 do not matter."""
    return is_float(spec) and spec.size >= 2 and max(spec.shape, default=0) == spec.size


def is_line(spec: TensorSpec) -> bool:
    """[places,characters], of an alphabet that deserves the name."""
    return is_float(spec) and len(spec.shape) == 2 and spec.shape[1] >= LEAST_CHARACTERS


def is_vector(spec: TensorSpec) -> bool:
    """Two real numbers or more."""
    return is_float(spec) and spec.size >= 2
