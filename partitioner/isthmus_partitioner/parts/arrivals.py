"""From what crosses at a cut to the fp32 network's own tensors, as nodes and as a graph.

Both begin with symbols, which a dequantise turns into numbers with a step and a zero point that
come with the frame, so that one graph serves every wire encoding of its cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from isthmus import TensorSpec
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.rewriting import OWN
from isthmus_partitioner.graph.surgery import BATCH, assemble, constant
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.wire.transform import Transform

__all__ = ["Arrival", "entry_model"]

_OPSET = 17  # of an entry, whatever the network's is: axes of DequantizeLinear came with 13
_IR_VERSION = 8


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """How one quantised tensor of a cut becomes the network's own again.

    `feeds` are the names of the symbols, the step and the zero point. The transform is undone, then
    `bias` (broadcast to the tensor in the graph) is added: what the head's answers were off on
    calibration data.
    """

    boundary: Boundary
    transform: Transform
    bias: NDArray[np.float32] | None
    feeds: tuple[str, ...]

    @property
    def symbols(self) -> TensorSpec:
        """What crosses: uint8 symbols [*wire shape]."""
        return TensorSpec(
            name=self.feeds[0],
            data_type="uint8",
            shape=self.transform.wire_shape(self.boundary.tensor.shape),
            batch_axis=self.boundary.tensor.batch_axis,
        )

    def nodes(
        self, index: int, constants: dict[str, TensorProto], axis: int | None = None
    ) -> list[onnx.NodeProto]:
        """Nodes from the feeds to the tensor; their constants are added to `constants`.

        `index` tells the tensors of a cut apart. With an `axis` the items along it have steps of
        their own; without one the step is a scalar.
        """
        symbols, step, zero_point = self.feeds
        target = self.boundary.tensor.name
        plain = target if self.bias is None else f"{OWN}plain_{index}"
        nodes = []
        if self.transform.order is not None:
            order = f"{OWN}order_{index}"
            constants[order] = constant(order, np.argsort(self.transform.order))
            nodes.append(helper.make_node("Gather", [symbols, order], [f"{order}ed"], axis=1))
            symbols = f"{order}ed"
        real = plain if self.transform.components is None else f"{OWN}projected_{index}"
        nodes.append(helper.make_node("DequantizeLinear", [symbols, step, zero_point], [real]))
        if axis is not None:
            nodes[-1].attribute.append(helper.make_attribute("axis", axis))
        nodes += self._projected_back(real, plain, index, constants)
        if self.bias is not None:
            name = f"{OWN}bias_{index}"
            constants[name] = constant(name, self.bias)
            nodes.append(helper.make_node("Add", [plain, name], [target]))
        return nodes

    def _projected_back(
        self, real: str, plain: str, index: int, constants: dict[str, TensorProto]
    ) -> list[onnx.NodeProto]:
        components, mean = self.transform.components, self.transform.mean
        if components is None or mean is None:
            return []
        values = {
            f"{OWN}components_{index}": np.ascontiguousarray(components.T[:, :, None, None]),
            f"{OWN}mean_{index}": mean,
        }
        constants.update({name: constant(name, value) for name, value in values.items()})
        return [helper.make_node("Conv", [real, *values], [plain])]


def entry_model(network: Network, arrivals: Sequence[Arrival]) -> onnx.ModelProto:
    """The graph from the symbols of a cut to the network's own tensors.

    Step float32 and zero point uint8 are [N] along the batch axis of a network that batches, else
    [1]; scalars for a tensor that has no batch axis.
    """
    constants: dict[str, TensorProto] = {}
    nodes: list[onnx.NodeProto] = []
    inputs: list[onnx.ValueInfoProto] = []
    for index, arrival in enumerate(arrivals):
        axis = arrival.boundary.tensor.batch_axis
        nodes += arrival.nodes(index, constants, axis)
        inputs += [network.info(arrival.symbols), *_scales(arrival, network.batches)]
    outputs = [network.info(arrival.boundary.tensor) for arrival in arrivals]
    like = helper.make_model(
        helper.make_graph([], "", [], []),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    return assemble(like, nodes, inputs, outputs, constants)


def _scales(arrival: Arrival, batches: bool) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]:
    _, step, zero_point = arrival.feeds
    sizes: list[int | str] = []
    if arrival.boundary.tensor.batch_axis is not None:
        sizes = [BATCH if batches else 1]
    return (
        helper.make_tensor_value_info(step, TensorProto.FLOAT, sizes),
        helper.make_tensor_value_info(zero_point, TensorProto.UINT8, sizes),
    )
