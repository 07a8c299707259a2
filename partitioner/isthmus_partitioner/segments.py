"""The device's chain of segments and the cloud's tails, as ONNX models.

The chain holds the head network once: segment i begins with the dequantise of one boundary's
uint8 tensor and ends in the uint8 tensor of the next, so a cut is "run the first i segments" and
the local remainder after an outage is the rest. The tails are rears of the *fp32* network that
begin with a dequantise whose step is an input: one tail serves every wire encoding of its cut.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from isthmus import TensorSpec
from isthmus_partitioner.boundary import Boundary
from isthmus_partitioner.network import RESERVED_NAMES, Network
from isthmus_partitioner.surgery import (
    assemble,
    constant,
    initialisers,
    nodes_between,
    tensor_info,
    used_by,
)

__all__ = ["STEP", "SYMBOLS", "ZERO_POINT", "boundary_spec", "device_chain", "tail_model"]

# Names of a tail's inputs; no tensor of a loaded network is called so.
SYMBOLS, STEP, ZERO_POINT = RESERVED_NAMES
_OWN = "isthmus_"  # begins the name of every tensor that is added to a network


def boundary_spec(boundary: Boundary) -> TensorSpec:
    """The uint8 tensor between two segments."""
    return TensorSpec(name=boundary.symbols, data_type="uint8", shape=boundary.cut.shape)


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
    sources = [begin.cut.tensor, begin.symbols] if begin else []
    nodes = nodes_between(head.graph, sources, _targets(head, end))
    if end and end.is_new:
        constants |= _scale_and_zero_point(end)
        nodes.append(_node("QuantizeLinear", end.cut.tensor, end))
    if begin and any(begin.cut.tensor in used_by(node) for node in nodes):
        constants |= _scale_and_zero_point(begin)
        nodes.insert(0, _node("DequantizeLinear", begin.symbols, begin))
    inputs = [_info(begin)] if begin else list(head.graph.input)
    outputs = [_info(end)] if end else _declared(network)
    return assemble(head, nodes, inputs, outputs, constants)


def _targets(head: onnx.ModelProto, end: Boundary | None) -> list[str]:
    if end is None:
        return [info.name for info in head.graph.output]
    return [end.cut.tensor if end.is_new else end.symbols]


def _declared(network: Network) -> list[onnx.ValueInfoProto]:
    return [tensor_info(spec.name, spec.data_type, spec.shape) for spec in network.outputs]


def _info(boundary: Boundary) -> onnx.ValueInfoProto:
    return tensor_info(boundary.symbols, "uint8", boundary.cut.shape)


def _node(op: str, source: str, boundary: Boundary) -> onnx.NodeProto:
    target = boundary.symbols if op == "QuantizeLinear" else boundary.cut.tensor
    names = [source, *_scale_and_zero_point(boundary)]
    return helper.make_node(op, names, [target], name=f"{_OWN}{op}_{boundary.cut.tensor}")


def _scale_and_zero_point(boundary: Boundary) -> dict[str, onnx.TensorProto]:
    known = boundary.quantisation
    values: dict[str, NDArray[np.generic]] = {
        f"{_OWN}scale_{boundary.cut.tensor}": np.asarray(known.scale, np.float32),
        f"{_OWN}zero_point_{boundary.cut.tensor}": np.asarray(known.zero_point, np.uint8),
    }
    return {name: constant(name, value) for name, value in values.items()}


def tail_model(
    network: Network, boundary: Boundary | None, bias: NDArray[np.float32] | None = None
) -> onnx.ModelProto:
    """The fp32 network behind a boundary; the whole of it, fed with the picture, if that is None.

    Inputs: `symbols` uint8 [N,*shape], `step` float32 and `zero_point` uint8, both scalars.
    `bias` (broadcast to [N,*shape]) is added to the dequantised tensor: what the head's answers
    were off, on average, on calibration data.
    """
    graph = network.model.graph
    outputs = _declared(network)
    constants = initialisers(graph)
    if boundary is None:
        nodes = nodes_between(graph, [], [info.name for info in outputs])
        return assemble(network.model, nodes, graph.input, outputs, constants)
    tensor = boundary.cut.tensor
    rear = nodes_between(graph, [tensor], [info.name for info in outputs])
    plain = tensor if bias is None else f"{_OWN}plain"
    nodes = [helper.make_node("DequantizeLinear", [SYMBOLS, STEP, ZERO_POINT], [plain])]
    if bias is not None:
        constants[f"{_OWN}bias"] = constant(f"{_OWN}bias", bias)
        nodes.append(helper.make_node("Add", [plain, f"{_OWN}bias"], [tensor]))
    inputs = [
        tensor_info(SYMBOLS, "uint8", boundary.cut.shape),
        helper.make_tensor_value_info(STEP, onnx.TensorProto.FLOAT, []),
        helper.make_tensor_value_info(ZERO_POINT, onnx.TensorProto.UINT8, []),
    ]
    return assemble(network.model, nodes + rear, inputs, outputs, constants)
