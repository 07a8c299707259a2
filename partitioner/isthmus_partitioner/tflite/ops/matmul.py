"""MatMul and Gemm: with a constant matrix a dense layer, else BATCH_MATMUL of reals.

LiteRT's BATCH_MATMUL of int8 runs beside XNNPACK and is many times slower than one of reals with a
DEQUANTIZE before and a QUANTIZE behind it, which gives the same integers.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from isthmus_partitioner.tflite.forms import Grid
from isthmus_partitioner.tflite.ops.dense import Weights, dense
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Step

__all__: list[str] = []

_MOST_DIMENSIONS = 5


@lowers("MatMul")
def matmul(step: Step) -> None:
    """Of matrices, of stacks of them, or of a stack with one constant matrix."""
    left, right = step.inputs
    ranks = [len(step.shape(name)) for name in (left, right)]
    if min(ranks) < 2:
        raise step.refused("a product with a vector is not covered")
    if step.source.is_constant(right) and ranks[1] == 2:
        dense(step, left, _weights(step, right, is_turned=False))
        return
    _batched(step, turned=False)


@lowers("Gemm")
def gemm(step: Step) -> None:
    """alpha * A * B + beta * C with constant B and C."""
    left, right = step.inputs[:2]
    if step.attribute("transA", 0):
        raise step.refused("a transposed left side is not covered")
    is_turned = bool(step.attribute("transB", 0))
    alpha = step.attribute("alpha", 1.0)
    if not step.source.is_constant(right):
        if alpha != 1 or step.has_input(2):
            raise step.refused("its right side is computed, and it scales or adds")
        _batched(step, turned=is_turned)
        return
    weights = _weights(step, right, is_turned=is_turned)
    if weights.steps is not None and alpha > 0:
        weights = replace(weights, steps=weights.steps * np.float32(alpha))
    elif alpha != 1:
        weights = Weights(weights.name, weights.reals * np.float32(alpha), None)
    dense(step, left, replace(weights, bias=_bias(step, len(weights.matrix))))


def _weights(step: Step, name: str, *, is_turned: bool) -> Weights:
    """A constant matrix; `is_turned`: it is [out,in] already."""
    stored = step.stored(name)
    if stored is not None:
        integers, grid = stored
        channels = integers.shape[0 if is_turned else 1]
        steps: NDArray[np.float32] | None = None
        if not isinstance(grid, Grid):
            steps = grid.steps if (grid.axis % 2 == 0) == is_turned else None
        elif grid.zero_point == 0:
            steps = np.full(channels, grid.step, np.float32)
        if steps is not None:
            return Weights(name, integers if is_turned else integers.T, steps)
    matrix = step.constant(name, "matrix")
    return Weights(name, matrix if is_turned else matrix.T, None)


def _bias(step: Step, channels: int) -> NDArray[np.float32] | None:
    if not step.has_input(2):
        return None
    bias = step.constant(step.inputs[2], "bias").astype(np.float32)
    if bias.size not in (1, channels) or bias.shape[-1:] not in ((), (bias.size,)):
        raise step.refused(f"a bias of {list(bias.shape)} is not one for each of its channels")
    whole = np.broadcast_to(bias.ravel(), (channels,))
    return (whole * np.float32(step.attribute("beta", 1.0))).astype(np.float32)


def _batched(step: Step, *, turned: bool) -> None:
    sides = [step.real(name) for name in step.inputs[:2]]
    if any(side.data_type != "float32" for side in sides):
        raise step.refused(f"it computes with {sides[0].data_type}")
    if max(len(side.shape) for side in sides) > _MOST_DIMENSIONS:
        raise step.refused(f"more than {_MOST_DIMENSIONS} dimensions are not covered")
    out = step.make(step.result(integer=False))
    step.emit(Op.BATCH_MATMUL, 1, sides, [out], options("BatchMatMulOptions", adjY=turned))
