"""The last step of a head: from the boundary tensor to what crosses the wire, as an ONNX graph.

Of integers only the channels' order changes; a table makes symbols of them afterwards. Of floats::

    boundary -> [order | projection] -> QuantizeLinear(step, zero point) -> Clip -> symbols

with step and zero point as *inputs*, so one graph serves the whole ladder. Clipping the integers
is clipping the floats before: QuantizeLinear saturates. While a scene stands still (`hold` > 0) a
value within `hold` steps of its `previous` symbol keeps that symbol.
"""

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

from isthmus import TensorSpec
from isthmus_partitioner.graph.surgery import constant, spec_info
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.wire.transform import Transform

__all__ = ["quantises", "stage_is_needed", "stage_model", "wire_spec"]

_FLOAT, _UINT8 = TensorProto.FLOAT, TensorProto.UINT8
# No name of the network enters the graph but for its output's, which has a suffix of its own.
_BOUNDARY = "boundary"


def wire_spec(boundary: Boundary, transform: Transform) -> TensorSpec:
    """What crosses: uint8 symbols, or the tensor itself where it is not quantised."""
    if not stage_is_needed(boundary, transform):
        return boundary.spec
    return TensorSpec(
        name=f"{boundary.name}_symbols",
        data_type="uint8",
        shape=transform.wire_shape(boundary.tensor.shape),
        batch_axis=boundary.tensor.batch_axis,
    )


def stage_is_needed(boundary: Boundary, transform: Transform) -> bool:
    """Whether anything has to happen between the chain and the wire's table."""
    is_plain = transform.order is None and transform.components is None
    return boundary.is_quantised and (boundary.quantisation is None or not is_plain)


def quantises(boundary: Boundary, transform: Transform) -> bool:
    """Whether the stage makes symbols itself, with the frame's step."""
    quantises_now = boundary.quantisation is None or transform.components is not None
    return boundary.is_quantised and quantises_now


def stage_model(
    boundary: Boundary, transform: Transform, like: onnx.ModelProto, batches: bool
) -> onnx.ModelProto:
    """The stage of a boundary with the versions of `like`; `batches`: it takes any batch."""
    symbols = wire_spec(boundary, transform)
    source = msgspec.structs.replace(boundary.spec, name=_BOUNDARY)
    inputs = [spec_info(source, batches)]
    constants: list[TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    if not quantises(boundary, transform):
        nodes = _ordered(_BOUNDARY, symbols.name, transform, constants)
    else:
        values = _BOUNDARY
        if boundary.quantisation is not None:
            nodes += _dequantised(boundary, constants)
            values = "real"
        nodes += _projected(values, "sent", transform, constants)
        nodes += _quantised("sent", symbols)
        inputs += [*_scalars(), _previous(symbols)]
        inputs.append(helper.make_tensor_value_info("hold", _FLOAT, []))
    outputs = [spec_info(symbols, batches)]
    graph = helper.make_graph(nodes, "isthmus_stage", inputs, outputs, constants)
    return helper.make_model(
        graph, opset_imports=like.opset_import, ir_version=like.ir_version, producer_name="isthmus"
    )


def _projected(
    source: str, target: str, transform: Transform, constants: list[TensorProto]
) -> list[onnx.NodeProto]:
    """Nodes of `Transform.forward`; adds what they need to `constants`."""
    if transform.components is None or transform.mean is None:
        return _ordered(source, target, transform, constants)
    weights = transform.components[:, :, None, None]
    constants.append(constant("isthmus_components", np.ascontiguousarray(weights)))
    constants.append(constant("isthmus_offset", -transform.components @ transform.mean))
    names = [source, "isthmus_components", "isthmus_offset"]
    return [helper.make_node("Conv", names, [target])]


def _ordered(
    source: str, target: str, transform: Transform, constants: list[TensorProto]
) -> list[onnx.NodeProto]:
    if transform.order is None:
        return [helper.make_node("Identity", [source], [target])]
    constants.append(constant("isthmus_order", transform.order))
    return [helper.make_node("Gather", [source, "isthmus_order"], [target], axis=1)]


def _dequantised(boundary: Boundary, constants: list[TensorProto]) -> list[onnx.NodeProto]:
    known = boundary.quantisation
    assert known is not None
    constants.append(constant("isthmus_scale", np.asarray(known.scale, np.float32)))
    constants.append(constant("isthmus_zero", np.asarray(known.zero_point, np.uint8)))
    names = [_BOUNDARY, "isthmus_scale", "isthmus_zero"]
    return [helper.make_node("DequantizeLinear", names, ["real"])]


def _quantised(source: str, symbols: TensorSpec) -> list[onnx.NodeProto]:
    """Symbols of floats, which stick to the previous ones while `hold` is above 0."""
    fresh = [
        helper.make_node("QuantizeLinear", [source, "step", "zero_point"], ["unclipped"]),
        helper.make_node("Clip", ["unclipped", "", "highest"], ["fresh"]),
    ]
    sticky = [
        helper.make_node("DequantizeLinear", ["previous", "step", "zero_point"], ["before"]),
        helper.make_node("Sub", [source, "before"], ["moved"]),
        helper.make_node("Abs", ["moved"], ["distance"]),
        helper.make_node("Mul", ["step", "hold"], ["reach"]),
        helper.make_node("LessOrEqual", ["distance", "reach"], ["stays"]),
        helper.make_node("Where", ["stays", "previous", "fresh"], ["stuck"]),
    ]
    plain = [helper.make_node("Identity", ["fresh"], ["as_it_is"])]
    branch = helper.make_node(
        "If",
        ["is_still"],
        [symbols.name],
        then_branch=helper.make_graph(sticky, "sticky", [], [_branch_output("stuck")]),
        else_branch=helper.make_graph(plain, "plain", [], [_branch_output("as_it_is")]),
    )
    zero = helper.make_node("Constant", [], ["nothing"], value_float=0.0)
    greater = helper.make_node("Greater", ["hold", "nothing"], ["is_still"])
    return [*fresh, zero, greater, branch]


def _branch_output(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _UINT8, None)


def _scalars() -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info("step", _FLOAT, []),
        helper.make_tensor_value_info("zero_point", _UINT8, []),
        helper.make_tensor_value_info("highest", _UINT8, []),
    ]


def _previous(symbols: TensorSpec) -> onnx.ValueInfoProto:
    # Sizes are free: where nothing is held, one element stands for all.
    sizes = [f"previous_{axis}" for axis in range(len(symbols.graph_shape))]
    return helper.make_tensor_value_info("previous", _UINT8, sizes)
