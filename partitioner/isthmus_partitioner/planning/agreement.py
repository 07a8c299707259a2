"""How close answers are to those of the unsplit fp32 model.

Top-1 accuracy hides damage; the share of equal answers and the divergence of the whole answer do
not, and need no labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus import ModelError, TensorSpec
from isthmus_partitioner.runtime import AnyArray

__all__ = ["Closeness", "answer_index", "closeness"]

_TINY = 1e-9  # below float32's resolution of a probability; keeps the logarithm finite


@dataclass(frozen=True, slots=True)
class Closeness:
    """`agreement`: share of equal top-1 answers (0-1); `kl`: mean divergence in nats."""

    agreement: float
    kl: float


def answer_index(outputs: tuple[TensorSpec, ...]) -> int:
    """Which output is the classifier's answer: the first that gives each class a float."""
    for index, spec in enumerate(outputs):
        if spec.data_type == "float32" and len(spec.shape) == 1 and spec.size >= 2:
            return index
    described = ", ".join(f"{spec.name!r} {spec.data_type} {list(spec.shape)}" for spec in outputs)
    raise ModelError(
        f"no output is float32 [N,classes] with two classes or more (there is {described}); "
        "only image classifiers can be compared so far"
    )


def closeness(reference: AnyArray, answers: AnyArray) -> Closeness:
    """Compare answers [n,classes] (probabilities or logits) with the reference's."""
    wanted, got = _probabilities(reference), _probabilities(answers)
    agreement = np.mean(wanted.argmax(axis=1) == got.argmax(axis=1))
    # Kullback and Leibler: sum of p log(p/q)
    kl = np.sum(wanted * np.log(wanted / got), axis=1).mean()
    return Closeness(float(agreement), max(0.0, float(kl)))


def _probabilities(answers: AnyArray) -> NDArray[np.float64]:
    rows = answers.astype(np.float64)
    sums = rows.sum(axis=1, keepdims=True)
    if rows.min() < -_TINY or not np.allclose(sums, 1, atol=1e-3):
        rows = np.exp(rows - rows.max(axis=1, keepdims=True))
        sums = rows.sum(axis=1, keepdims=True)
    result: NDArray[np.float64] = np.maximum(rows / sums, _TINY)
    return result
