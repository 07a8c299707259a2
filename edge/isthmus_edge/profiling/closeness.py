"""How far a runtime's answers are from those that a kit has of ONNX Runtime.

This finds garbage and no more: whether an int8 network answers well enough is judged where the plan
is made, by agreement. An answer that has nothing to do with the right one is off by 100 % (zeros)
to 141 % (``norm(a - b) / norm(b)`` of two that have nothing in common is the root of 2): those of
EfficientNet-Lite0 for one picture are off by 141 % from those for another, of MiniLM by 131 %, of a
small residual network by 90 %. Rounding otherwise is less than that, and less than what int8 itself
cost (in brackets: the int8 network from the fp32 one, both in ONNX Runtime), four items of each:

    network                       LiteRT      tflite-runtime
    every network in fp32         0.0 %       0.0 %
    EfficientNet-Lite0, int8      0.0 %        3.9 %    (16 %)
    EfficientNet-Lite0, heads     1.8 %        2.1 %    (10 %)
    residual network, int8        0.0 %        0.7 %    (1 %)
    MiniLM, heads                 3.8 %        4.9 %    (9 %)
    MiniLM, int8 throughout      31 %         36 %      (54 %)

`MOST_ERROR` lies between. An int8 network that rounding alone moves by more than half would, by
this table, have been moved further by int8 itself, and be of no use on any runtime. What an output
hides is not found: behind a softmax over nearly equal logits, say.
"""

from collections.abc import Sequence

import numpy as np

from isthmus import ModelError
from isthmus_edge.profiling.session import AnyArray

__all__ = ["MOST_ERROR", "error_of", "said_of"]

MOST_ERROR = 0.5


def error_of(made: Sequence[Sequence[AnyArray]], wanted: Sequence[AnyArray]) -> float:
    """The worst output's error over all items, infinite where numbers should be and are not.

    `made` are the outputs of one item after the other, `wanted` each output [items,*shape].
    ModelError if an output has another size or type.
    """
    columns = zip(*made, strict=True)
    return max(_error(list(rows), known) for rows, known in zip(columns, wanted, strict=True))


def said_of(error: float) -> str:
    """Why answers with this error are not measured."""
    if np.isfinite(error):
        return f"its answers are off by {error:.0%}"
    return "its answers are no numbers where ONNX Runtime's are"


def _error(rows: Sequence[AnyArray], wanted: AnyArray) -> float:
    for row, known in zip(rows, wanted, strict=True):
        if row.size != known.size or row.dtype != known.dtype:
            raise ModelError(
                f"an answer is {row.dtype} {list(row.shape)}, the kit's is {known.dtype} "
                f"{list(known.shape)}"
            )
    ours = np.stack([row.reshape(wanted.shape[1:]) for row in rows])
    relative = _relative(ours, wanted)
    # A class id that changes is as far away as chance will have it.
    return relative if wanted.dtype.kind == "f" else min(relative, float((ours != wanted).mean()))


def _relative(ours: AnyArray, wanted: AnyArray) -> float:
    """``norm(ours - wanted) / norm(wanted)``; the same infinities are no difference."""
    a, b = ours.astype(np.float64), wanted.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    apart = np.subtract(a, b, out=np.zeros_like(a), where=~same)
    error, size = float(np.linalg.norm(apart)), float(np.linalg.norm(b[np.isfinite(b)]))
    if not np.isfinite(error):
        return float("inf")
    return error / size if size else error
