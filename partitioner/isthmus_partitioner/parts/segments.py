"""The device's chain of segments and the cloud's tails, as ONNX models.

The chain holds the head network once: segment i begins with one boundary and ends in the next, so a
cut is "run the first i segments" and the local remainder after an outage is the rest. The tails are
rears of the *fp32* network that begin with a dequantise whose step is an input: one tail serves
every wire encoding of its cut.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from isthmus_partitioner.graph.network import RESERVED_NAMES, Network
from isthmus_partitioner.graph.surgery import (
    assemble,
    constant,
    initialisers,
    nodes_between,
    tensor_info,
    used_by,
)
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.wire.transform import PLAIN, Transform

__all__ = ["STEP", "SYMBOLS", "ZERO_POINT", "device_chain", "tail_model", "whole_model"]

# Names of a tail's inputs; no tensor of a loaded network is called so.
SYMBOLS, STEP, ZERO_POINT = RESERVED_NAMES
_OWN = "isthmus_"  # begins the name of every tensor that is added to a network


def device_chain(
    network: Network, head: onnx.ModelProto, cuts: Sequence[Boundary]
) -> list[onnx.ModelProto]:
    """The segments of `head`, divided at `cuts` (in the network's order); one if there is none."""
    ends = [None, *cuts, None]
    return [_segment(network, head, begin, end) for begin, end in pairwise(ends)]


def _segment(
    network: Network, head: onnx.ModelProto, begin: Boundary | None, end: Boundary | None
) -> onnx.ModelProto:
    constants = initialisers(head.graph)
    sources = [begin.cut.tensor, begin.name] if begin else []
    targets = [end.name] if end else [info.name for info in head.graph.output]
    nodes = nodes_between(head.graph, sources, targets)
    is_integer = begin is not None and begin.quantisation is not None
    if begin and is_integer and any(begin.cut.tensor in used_by(node) for node in nodes):
        constants |= _scale_and_zero_point(begin)
        nodes.insert(0, _dequantise(begin))
    inputs = [_info(begin)] if begin else list(head.graph.input)
    outputs = [_info(end)] if end else _declared(network)
    return assemble(head, nodes, inputs, outputs, constants)


def _declared(network: Network) -> list[onnx.ValueInfoProto]:
    return [tensor_info(spec.name, spec.data_type, spec.shape) for spec in network.outputs]


def _info(boundary: Boundary) -> onnx.ValueInfoProto:
    return tensor_info(boundary.name, boundary.spec.data_type, boundary.cut.shape)


def _dequantise(boundary: Boundary) -> onnx.NodeProto:
    names = [boundary.name, *_scale_and_zero_point(boundary)]
    name = f"{_OWN}DequantizeLinear_{boundary.cut.tensor}"
    return helper.make_node("DequantizeLinear", names, [boundary.cut.tensor], name=name)


def _scale_and_zero_point(boundary: Boundary) -> dict[str, onnx.TensorProto]:
    known = boundary.quantisation
    assert known is not None
    values: dict[str, NDArray[np.generic]] = {
        f"{_OWN}scale_{boundary.cut.tensor}": np.asarray(known.scale, np.float32),
        f"{_OWN}zero_point_{boundary.cut.tensor}": np.asarray(known.zero_point, np.uint8),
    }
    return {name: constant(name, value) for name, value in values.items()}


def whole_model(network: Network) -> onnx.ModelProto:
    """The whole fp32 network, fed with the picture: the tail of `input`."""
    graph = network.model.graph
    outputs = _declared(network)
    nodes = nodes_between(graph, [], [info.name for info in outputs])
    return assemble(network.model, nodes, graph.input, outputs, initialisers(graph))


def tail_model(
    network: Network,
    boundary: Boundary,
    transform: Transform = PLAIN,
    bias: NDArray[np.float32] | None = None,
) -> onnx.ModelProto:
    """The fp32 network behind a boundary.

    Inputs: `symbols` uint8 [N,*wire shape], `step` float32 and `zero_point` uint8, both scalars.
    The transform is undone; `bias` (broadcast to [N,*shape]) is added then: what the head's answers
    were off, on average, on calibration data.
    """
    graph = network.model.graph
    outputs = _declared(network)
    tensor = boundary.cut.tensor
    rear = nodes_between(graph, [tensor], [info.name for info in outputs])
    constants = initialisers(graph)
    plain = tensor if bias is None else f"{_OWN}plain"
    nodes = _received(transform, plain, constants)
    if bias is not None:
        constants[f"{_OWN}bias"] = constant(f"{_OWN}bias", bias)
        nodes.append(helper.make_node("Add", [plain, f"{_OWN}bias"], [tensor]))
    inputs = [
        tensor_info(SYMBOLS, "uint8", transform.wire_shape(boundary.cut.shape)),
        helper.make_tensor_value_info(STEP, TensorProto.FLOAT, []),
        helper.make_tensor_value_info(ZERO_POINT, TensorProto.UINT8, []),
    ]
    return assemble(network.model, nodes + rear, inputs, outputs, constants)


def _received(
    transform: Transform, target: str, constants: dict[str, TensorProto]
) -> list[onnx.NodeProto]:
    """Nodes from the symbols to the cut's tensor."""
    symbols, real = SYMBOLS, target
    nodes = []
    if transform.order is not None:
        symbols = f"{_OWN}in_order"
        constants[f"{_OWN}order"] = constant(f"{_OWN}order", np.argsort(transform.order))
        nodes.append(helper.make_node("Gather", [SYMBOLS, f"{_OWN}order"], [symbols], axis=1))
    if transform.components is not None:
        real = f"{_OWN}projected"
    nodes.append(helper.make_node("DequantizeLinear", [symbols, STEP, ZERO_POINT], [real]))
    if transform.components is not None and transform.mean is not None:
        weights = np.ascontiguousarray(transform.components.T[:, :, None, None])
        names = {f"{_OWN}components": weights, f"{_OWN}mean": transform.mean}
        constants.update({name: constant(name, value) for name, value in names.items()})
        nodes.append(helper.make_node("Conv", [real, *names], [target]))
    return nodes
