"""Taking ONNX graphs apart and putting them together again, by tensor names.

Everything here works on whole nodes in topological order, which ONNX promises, and is linear in
the size of the graph.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from isthmus import TensorSpec

__all__ = [
    "assemble",
    "constant",
    "initialisers",
    "nodes_between",
    "open_info",
    "producers",
    "spec_info",
    "tensor_info",
    "used_by",
]

BATCH = "N"


def used_by(node: onnx.NodeProto) -> set[str]:
    """Names of the tensors a node reads, those of its subgraphs from outside included."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {name for inner in graph.node for name in inner.output}
            own |= {info.name for info in graph.input} | {t.name for t in graph.initializer}
            wanted = {name for inner in graph.node for name in used_by(inner)}
            wanted |= {info.name for info in graph.output}
            names |= wanted - own
    return names


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Which node makes each tensor."""
    return {name: node for node in graph.node for name in node.output if name}


def initialisers(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    """The graph's constants by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def nodes_between(
    graph: onnx.GraphProto, sources: Iterable[str], targets: Iterable[str]
) -> list[onnx.NodeProto]:
    """The nodes that compute `targets` when `sources` are given, in the graph's order."""
    given = set(sources)
    wanted = set(targets) - given
    chosen: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            chosen.append(node)
            wanted |= used_by(node) - given
    return chosen[::-1]


def assemble(
    like: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Mapping[str, TensorProto],
) -> onnx.ModelProto:
    """A model of `nodes`, with those of `constants` that they use and the versions of `like`."""
    used = {name for node in nodes for name in used_by(node)}
    used |= {info.name for info in outputs}
    made = {name for node in nodes for name in node.output}
    kept = [constants[name] for name in sorted((used & constants.keys()) - made)]
    graph = helper.make_graph(nodes, "isthmus", inputs, outputs, kept)
    model = helper.make_model(
        graph, opset_imports=like.opset_import, ir_version=like.ir_version, producer_name="isthmus"
    )
    model.functions.extend(like.functions)
    return model


def tensor_info(name: str, data_type: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    """A graph input or output whose first dimension is the batch."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(data_type))
    return helper.make_tensor_value_info(name, element, [BATCH, *shape])


def spec_info(spec: TensorSpec, batches: bool) -> onnx.ValueInfoProto:
    """A graph input or output of a spec; its batch is free in a network that runs batches."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(spec.data_type))
    sizes: list[int | str] = list(spec.graph_shape)
    if batches and spec.batch_axis is not None:
        sizes[spec.batch_axis] = BATCH
    return helper.make_tensor_value_info(spec.name, element, sizes)


def open_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    """A graph input or output of which the type is stated, but no size: only that it is a scalar.

    Without a shape, not even with an open one: a branch may stand for another rank.
    """
    element = helper.np_dtype_to_tensor_dtype(np.dtype(spec.data_type))
    return helper.make_tensor_value_info(spec.name, element, None if spec.graph_shape else [])


def constant(name: str, value: NDArray[np.generic]) -> TensorProto:
    """An initialiser."""
    return numpy_helper.from_array(value, name)
