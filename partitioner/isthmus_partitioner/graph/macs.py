"""How much a node computes, in multiply-accumulates."""

import math

import onnx

from isthmus_partitioner.graph.shapes import Shapes
from isthmus_partitioner.graph.surgery import initialisers

__all__ = ["MAC_OPS", "macs_of"]

MAC_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "FusedConv", "QLinearConv"})
_PRODUCTS = frozenset(
    {
        "DynamicQuantizeMatMul", "FusedMatMul", "Gemm", "MatMul", "MatMulInteger",
        "MatMulIntegerToFloat",
    }
)  # fmt: skip
_RECURRENT = frozenset({"DynamicQuantizeLSTM", "GRU", "LSTM", "RNN"})


def macs_of(graph: onnx.GraphProto, shapes: Shapes) -> list[int]:
    """Multiply-accumulates of each node for one item; 0 for other ops and unknown shapes.

    What runs inside the bodies of If, Loop and Scan is not counted.
    """
    weights = {name: tuple(t.dims) for name, t in initialisers(graph).items()}
    for node in graph.node:  # weights that were stored as integers
        if node.op_type == "DequantizeLinear" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    return [_node_macs(node, shapes, weights) for node in graph.node]


def _node_macs(node: onnx.NodeProto, shapes: Shapes, weights: Shapes) -> int:
    output = shapes.get(next(iter(node.output), ""), ())
    kind = node.op_type
    if kind in _RECURRENT:
        return _recurrent_macs(node, shapes, weights)
    if not output:
        return 0
    if kind in _CONVOLUTIONS:  # [M, C/group, *kernel]: every output sums over all but M
        weight = weights.get(node.input[3 if kind == "QLinearConv" else 1], ())
        return math.prod(output) * math.prod(weight[1:]) if len(weight) > 1 else 0
    if kind == "ConvTranspose":  # [C, M/group, *kernel]: every *input* meets all but C
        weight = weights.get(node.input[1], ())
        return math.prod(shapes.get(node.input[0], (0,))) * math.prod(weight[1:]) if weight else 0
    if kind in _PRODUCTS or kind == "QLinearMatMul":
        return math.prod(output) * _inner_size(node, shapes, weights, output)
    return 0


def _inner_size(
    node: onnx.NodeProto, shapes: Shapes, weights: Shapes, output: tuple[int, ...]
) -> int:
    """Over how many products each element of a matrix product sums."""
    weight = weights.get(node.input[3 if node.op_type == "QLinearMatMul" else 1], ())
    if len(weight) >= 2:
        return weight[-1] * weight[-2] // output[-1]
    left = shapes.get(node.input[0], ()) or weights.get(node.input[0], ())
    return left[-1] if left else 0


def _recurrent_macs(node: onnx.NodeProto, shapes: Shapes, weights: Shapes) -> int:
    """[steps, batch, features] by W and R of every direction."""
    steps = shapes.get(node.input[0], ())
    sizes = [weights.get(name, ()) for name in node.input[1:3]]
    return steps[0] * sum(math.prod(size) for size in sizes if size) if steps else 0
