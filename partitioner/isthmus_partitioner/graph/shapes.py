"""Shapes that a graph states by itself."""

from collections.abc import Mapping

import onnx

__all__ = ["Shapes", "tensor_shapes"]

Shapes = Mapping[str, tuple[int, ...]]  # of one item: the batch dimension is left out


def tensor_shapes(graph: onnx.GraphProto) -> Shapes:
    """Shapes of all float tensors whose sizes (but for the batch, the first) are known."""
    shapes = {}
    for info in (*graph.input, *graph.value_info, *graph.output):
        kind = info.type.tensor_type
        sizes = tuple(dim.dim_value for dim in kind.shape.dim[1:])
        if kind.elem_type == onnx.TensorProto.FLOAT and sizes and all(sizes):
            shapes[info.name] = sizes
    return shapes
