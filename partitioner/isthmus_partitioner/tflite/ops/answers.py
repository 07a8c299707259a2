"""Where the answer of a dense layer goes: past its bias and its activation, onto a grid or not.

ONNX Runtime's quantiser leaves Gemm and MatMul their float answers. Where such an answer goes to
quantisers of one grid only, moved before or not, it is put on that grid at once: it is rounded
there in any case, and moving numbers does not change them. But not with a bias of any real: TFLite
would round it to a multiple of the products' step. Then a few answers in ten thousand are one step
off, and the softmax and the norms of a transformer make a hundred times more of that.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus_partitioner.tflite.activations import bounds, fused
from isthmus_partitioner.tflite.forms import Grid
from isthmus_partitioner.tflite.source import Source
from isthmus_partitioner.tflite.step import Result, Step

__all__ = ["Answer", "answer_of"]

_MOVING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_NO_ACTIVATION = 0
_NEAR, _ROUNDED = 1e-2, 1e-6  # a count of steps may be off so far: absolutely, by float32
_LIMIT = 2**31


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The tensor `name`, behind all that the layer does itself: a bias [channels], an activation.

    `grid` is None where it has to be reals. `absorbed` are nodes behind the layer's own.
    """

    name: str
    grid: Grid | None
    bias: NDArray[np.float32] | None
    activation: int
    absorbed: tuple[onnx.NodeProto, ...]

    def result(self, step: Step) -> Result:
        """The same for `Step.make`."""
        shape = step.shape(self.name)
        return Result((self.name,), shape, self.grid, self.activation, self.absorbed)


def answer_of(
    step: Step,
    bias: NDArray[np.float32] | None,
    channels: int,
    products: NDArray[np.float32] | None,
) -> Answer:
    """Follow what a layer of `channels` makes; `bias` is its own one.

    `products` are the steps of its integers' products, [channels]; None where it computes in reals.
    """
    name, source = step.outputs[0], step.source
    absorbed: list[onnx.NodeProto] = []
    added = source.only_reader(name)
    if bias is None and added is not None:
        bias = _vector(source, added, name, channels)
        if bias is not None:
            name = added.output[0]
            absorbed.append(added)
    integer = products is not None and (bias is None or _are_multiples(bias, products))
    grid = _grid_behind(source, name) if integer else None
    active = source.only_reader(name)
    limits = None if active is None or grid is not None else bounds(active, source)
    if active is None or limits is None:
        return Answer(name, grid, bias, _NO_ACTIVATION, tuple(absorbed))
    behind = active.output[0]
    grid = _grid_behind(source, behind) if integer else None
    activation = fused(*limits, grid)
    if activation is None:
        return Answer(name, None, bias, _NO_ACTIVATION, tuple(absorbed))
    return Answer(behind, grid, bias, activation, (*absorbed, active))


def _vector(
    source: Source, node: onnx.NodeProto, name: str, channels: int
) -> NDArray[np.float32] | None:
    """What an Add adds to every row, [channels]; None where it is something else."""
    if node.op_type != "Add":
        return None
    other = node.input[1] if node.input[0] == name else node.input[0]
    if other == name or not source.is_constant(other):
        return None
    shape = source.shape(other)
    if shape[-1:] != (channels,) or any(size > 1 for size in shape[:-1]):
        return None
    if len(shape) > len(source.shape(name)):
        return None
    return source.constant(other).astype(np.float32).ravel()


def _are_multiples(bias: NDArray[np.float32], products: NDArray[np.float32]) -> bool:
    counts = bias.astype(np.float64) / products.astype(np.float64)
    near = np.rint(counts)
    is_exact = np.abs(counts - near) <= np.maximum(_ROUNDED * np.abs(near), _NEAR)
    return bool(is_exact.all() and np.abs(near).max(initial=0) < _LIMIT)


def _grid_behind(source: Source, name: str) -> Grid | None:
    """The one grid on which all that reads a tensor puts it, at once or after moving it."""
    found: set[Grid | None] = set()
    ends = [name]
    while ends:
        tensor = ends.pop()
        readers = source.readers.get(tensor, [])
        if tensor in source.outputs or not readers:
            return None
        for reader in readers:
            if reader.input[0] != tensor:
                return None
            if reader.op_type == "QuantizeLinear":
                found.add(source.grid(reader))
            elif reader.op_type in _MOVING:
                ends.append(reader.output[0])
            else:
                return None
    return found.pop() if len(found) == 1 else None
