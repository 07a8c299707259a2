"""FULLY_CONNECTED: of reals, of integers, and of integers whose answer has to be reals.

TFLite has no operator for the last. But where a FULLY_CONNECTED reads reals beside int8 weights, it
puts each row on a grid of its own, from the least to the largest number in it (and zero), and
computes in integers. Two more columns with the ends of our own grid, for which all weights are
zero, make each row's grid ours: the products are those of ONNX Runtime's integers, to the bit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus_partitioner.tflite.forms import AnyArray, ChannelGrid, Grid, Value
from isthmus_partitioner.tflite.ops.answers import Answer, answer_of
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Step

__all__ = ["Weights", "dense"]

_LOWEST, _HIGHEST = -128, 127
# Since 5 the rank is kept, since 6 the bias may be left out, since 9 rows have a zero point.
_WITH_BIAS, _WITHOUT_BIAS, _ROWS_ON_GRIDS = 5, 6, 9
_ONE = Grid(1.0, 0)
_NO_ACTIVATION = 0


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A matrix [out,in] and maybe a bias [out].

    `steps` [out] are None for reals; else the matrix is int8, around zero, in these steps.
    """

    name: str
    matrix: AnyArray
    steps: NDArray[np.float32] | None
    bias: NDArray[np.float32] | None = None

    @property
    def reals(self) -> NDArray[np.float32]:
        """The matrix, dequantised."""
        matrix = self.matrix.astype(np.float32)
        return matrix if self.steps is None else matrix * self.steps[:, None]


def dense(step: Step, left: str, weights: Weights) -> None:
    """Lower a product of `left` [...,in] with the transposed weights."""
    if step.source.data_type(left) != "float32":
        raise step.refused(f"it computes with {step.source.data_type(left)}")
    grid, products = step.values.grid(left), None
    if weights.steps is not None and grid is not None:
        products = np.float32(grid.step) * weights.steps
    answer = answer_of(step, weights.bias, len(weights.matrix), products)
    if products is None:
        _of_reals(step, left, weights, answer)
    elif answer.grid is None:
        _of_integers_to_reals(step, left, weights, answer)
    else:
        _of_integers(step, left, weights, answer, products)


def _of_reals(step: Step, left: str, weights: Weights, answer: Answer) -> None:
    value = step.real(left)
    fixed = step.fixed(f"{weights.name};turned", np.ascontiguousarray(weights.reals))
    bias = None if answer.bias is None else step.fixed(f"{answer.name};bias", answer.bias)
    version = _WITHOUT_BIAS if bias is None else _WITH_BIAS
    settings = _settings(answer.activation)
    out = step.make(answer.result(step))
    step.emit(Op.FULLY_CONNECTED, version, [value, fixed, bias], [out], settings)


def _of_integers(
    step: Step, left: str, weights: Weights, answer: Answer, products: NDArray[np.float32]
) -> None:
    value = step.integer(left)
    assert weights.steps is not None
    along = ChannelGrid(weights.steps, 0)
    fixed = step.fixed(f"{weights.name};turned", np.ascontiguousarray(weights.matrix), along)
    bias = None
    if answer.bias is not None:
        integers = np.rint(answer.bias.astype(np.float64) / products).astype(np.int32)
        bias = step.fixed(f"{answer.name};bias", integers, ChannelGrid(products, 0))
    version = _WITHOUT_BIAS if bias is None else _WITH_BIAS
    settings = _settings(answer.activation)
    out = step.make(answer.result(step))
    step.emit(Op.FULLY_CONNECTED, version, [value, fixed, bias], [out], settings)


def _of_integers_to_reals(step: Step, left: str, weights: Weights, answer: Answer) -> None:
    """The weights' steps come behind: not every runtime has one per channel here."""
    grid, steps = step.values.grid(left), weights.steps
    assert grid is not None
    assert steps is not None
    value = _with_ends(step, step.real(left), grid)
    matrix = np.pad(weights.matrix, ((0, 0), (0, 2)))
    fixed = step.fixed(f"{weights.name};turned", matrix, _ONE)
    bias = None
    if answer.bias is not None:
        scaled = answer.bias.astype(np.float64) / steps.astype(np.float64)
        if np.abs(scaled).max(initial=0) > np.finfo(np.float32).max:
            raise step.refused("its bias is too large for the steps of its weights")
        bias = step.fixed(f"{answer.name};bias", scaled.astype(np.float32))
    settings = _settings(_NO_ACTIVATION, on_grids=True)
    shape = step.shape(answer.name)
    product = step.values.new(f"{answer.name};product", shape, "float32")
    step.emit(Op.FULLY_CONNECTED, _ROWS_ON_GRIDS, [value, fixed, bias], [product], settings)
    factors = step.fixed(f"{weights.name};steps", steps)
    out = step.make(answer.result(step))
    step.emit(
        Op.MUL,
        1,
        [product, factors],
        [out],
        options("MulOptions", fusedActivationFunction=answer.activation),
    )


def _with_ends(step: Step, value: Value, grid: Grid) -> Value:
    """The rows of a tensor with the least and the largest number of a grid behind each."""
    *rows, width = value.shape
    symbols = np.asarray([_LOWEST, _HIGHEST]) - grid.zero_point
    ends = symbols.astype(np.float32) * np.float32(grid.step)
    fixed = step.fixed(f"{step.outputs[0]};ends", np.broadcast_to(ends, (*rows, 2)).copy())
    made = step.values.new(f"{step.outputs[0]};ended", (*rows, width + 2), "float32")
    settings = options("ConcatenationOptions", axis=len(rows))
    step.emit(Op.CONCATENATION, 1, [value, fixed], [made], settings)
    return made


def _settings(activation: int, *, on_grids: bool = False) -> tuple[int, object]:
    return options(
        "FullyConnectedOptions",
        keepNumDims=True,
        fusedActivationFunction=activation,
        asymmetricQuantizeInputs=on_grids,
    )
