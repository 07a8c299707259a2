"""Where a network can be cut at one tensor, and how much of the work lies before each place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from isthmus_partitioner.graph.surgery import initialisers, used_by

__all__ = ["MAC_OPS", "CutPoint", "Shapes", "find_cuts", "macs_of", "tensor_shapes"]

Shapes = Mapping[str, tuple[int, ...]]  # of one item: the batch dimension is left out

MAC_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# What runtimes fuse into the layer before: a cut in front of one of these only costs.
ACTIVATIONS = frozenset(
    {"Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"}
)


@dataclass(frozen=True, slots=True)
class CutPoint:
    """A float tensor through which every path from input to outputs goes.

    `macs_share` (0-1) of the multiply-accumulates and `layers` Conv/Gemm/MatMul come before it;
    `node` is the index of the node that makes it.
    """

    tensor: str
    shape: tuple[int, ...]
    macs_share: float
    layers: int
    node: int


def tensor_shapes(graph: onnx.GraphProto) -> Shapes:
    """Shapes of all float tensors whose sizes (but for the batch) are known."""
    shapes = {}
    for info in (*graph.input, *graph.value_info, *graph.output):
        kind = info.type.tensor_type
        sizes = tuple(dim.dim_value for dim in kind.shape.dim[1:])
        if kind.elem_type == onnx.TensorProto.FLOAT and sizes and all(sizes):
            shapes[info.name] = sizes
    return shapes


def macs_of(graph: onnx.GraphProto, shapes: Shapes) -> list[int]:
    """Multiply-accumulates of each node for one item; 0 for other ops and unknown shapes."""
    weights = {name: tuple(t.dims) for name, t in initialisers(graph).items()}
    return [_node_macs(node, shapes, weights) for node in graph.node]


def _node_macs(node: onnx.NodeProto, shapes: Shapes, weights: Shapes) -> int:
    if node.op_type not in MAC_OPS:
        return 0
    output = shapes.get(node.output[0], ())
    weight = weights.get(node.input[1], ())
    if not output or len(weight) < 2:
        return 0
    match node.op_type:
        case "Conv":  # [M, C/group, *kernel]: every output element sums over all but M
            return _product(output) * _product(weight[1:])
        case "ConvTranspose":  # [C, M/group, *kernel]: every *input* element meets all but C
            return _product(shapes.get(node.input[0], (0,))) * _product(weight[1:])
        case _:
            return _product(output) * (_product(weight) // output[-1])


def _product(sizes: tuple[int, ...]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result


def find_cuts(graph: onnx.GraphProto, shapes: Shapes, macs: list[int]) -> tuple[CutPoint, ...]:
    """All one-tensor cuts worth a thought, in order.

    One sweep over the nodes in topological order with the set of tensors still to be read,
    O(nodes + edges): a tensor is a cut exactly if nothing else is alive after its producer. All
    of its ancestors have run by then, and whatever has run and is no ancestor cannot reach an
    output without it.

    Left out: tensors before the first or after the last multiply-accumulate, those with an
    unknown shape, and those whose only reader is an activation that belongs to the layer before.
    """
    total = sum(macs)
    readers = _readers(graph)
    found = []
    before, layers = 0, 0
    for index, alive in enumerate(_alive_after(graph)):
        before += macs[index]
        layers += macs[index] > 0
        if len(alive) == 1 and 0 < before < total:
            (tensor,) = alive
            is_made_here = tensor in graph.node[index].output
            if is_made_here and tensor in shapes and not _is_inside_a_layer(readers[tensor]):
                found.append(CutPoint(tensor, shapes[tensor], before / total, layers, index))
    return tuple(found)


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in used_by(node):
            readers.setdefault(name, []).append(node)
    return readers


def _alive_after(graph: onnx.GraphProto) -> Iterator[set[str]]:
    """After each node: the tensors that depend on the input and are still to be read."""
    last_use = {info.name: len(graph.node) for info in graph.output}
    for index in reversed(range(len(graph.node))):
        if any(name in last_use for name in graph.node[index].output):  # else nobody reads it
            for name in used_by(graph.node[index]):
                last_use.setdefault(name, index)
    constants = initialisers(graph).keys()
    dependent = {info.name for info in graph.input} - constants
    alive = set(dependent)
    for index, node in enumerate(graph.node):
        if dependent & used_by(node):
            dependent.update(node.output)
            alive.update(name for name in node.output if name in last_use)
        alive = {name for name in alive if last_use.get(name, -1) > index}
        yield alive


def _is_inside_a_layer(readers: list[onnx.NodeProto]) -> bool:
    return len(readers) == 1 and readers[0].op_type in ACTIVATIONS
