"""What a chain holds at a cut: integers in the int8 part, floats in the fp32 part."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from isthmus import Quantisation, TensorSpec
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import initialisers, nodes_between, used_by

__all__ = ["Boundary", "ChainCut", "HeadGraph"]

_INTEGER_OPS = frozenset(
    {"QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv"}
)
LEAST_SYMBOLS = 64  # elements: less is not worth a quantiser, and may be a state or a threshold


@dataclass(frozen=True, slots=True)
class Boundary:
    """One tensor of a cut as a chain holds it.

    `tensor` is the network's own. `name` is what the chain holds: the uint8 tensor that the int8
    network has for it (then `quantisation` is what it stands for), or the tensor itself.
    `is_exact`: it must cross as it is, because calibration says nothing of its values.
    """

    tensor: TensorSpec
    name: str
    quantisation: Quantisation | None
    is_exact: bool = False

    @property
    def spec(self) -> TensorSpec:
        """The tensor that the chain holds."""
        data_type = self.tensor.data_type if self.quantisation is None else "uint8"
        return TensorSpec(
            name=self.name,
            data_type=data_type,
            shape=self.tensor.shape,
            batch_axis=self.tensor.batch_axis,
        )

    @property
    def is_quantised(self) -> bool:
        """Whether symbols of it cross; ids, masks and a few numbers cross as they are."""
        is_long = self.tensor.data_type == "float32" and self.tensor.size >= LEAST_SYMBOLS
        return is_long and not self.is_exact


@dataclass(frozen=True, slots=True)
class ChainCut:
    """A cut with what a chain holds at it, tensor by tensor."""

    cut: NetworkCut
    boundaries: tuple[Boundary, ...]


class HeadGraph:
    """The network that a device's chain is cut from: fp32, int8, or a mix of both.

    Nodes that it shares with the fp32 network bear the same names. The tensors `exact` are never
    quantised on the wire.
    """

    def __init__(
        self, network: Network, model: onnx.ModelProto, exact: Collection[str] = ()
    ) -> None:
        self._exact = frozenset(exact)
        self.model = model
        self._index = {node.name: i for i, node in enumerate(network.model.graph.node)}
        self._constants = initialisers(model.graph)
        self._made = {name for node in model.graph.node for name in node.output}
        self._made |= {info.name for info in model.graph.input}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in used_by(node):
                self._readers.setdefault(name, []).append(node)

    def at(self, cut: NetworkCut) -> ChainCut | None:
        """What the chain holds at a cut; None where the graph lacks one of its tensors."""
        found = [self._boundary(spec, cut) for spec in cut.tensors]
        boundaries = tuple(boundary for boundary in found if boundary is not None)
        return ChainCut(cut, boundaries) if len(boundaries) == len(found) else None

    def has_integers(self, at: ChainCut) -> bool:
        """Whether anything in the head of a cut is computed in integers."""
        ends = [boundary.name for boundary in at.boundaries]
        nodes = nodes_between(self.model.graph, [], ends)
        return any(node.op_type in _INTEGER_OPS for node in nodes)

    def _boundary(self, tensor: TensorSpec, cut: NetworkCut) -> Boundary | None:
        plain = Boundary(tensor, tensor.name, None, tensor.name in self._exact)
        readers = self._readers.get(tensor.name, [])
        behind = [node for node in readers if self._is_behind(node, cut)]
        quantisers = [node for node in behind if node.op_type == "QuantizeLinear"]
        if plain.is_quantised and quantisers and len(quantisers) == len(behind):
            node = quantisers[0]
            known = _quantisation(node, self._constants)
            if known is not None:
                return Boundary(tensor, node.output[0], known)
        return plain if tensor.name in self._made else None

    def _is_behind(self, node: onnx.NodeProto, cut: NetworkCut) -> bool:
        """Nodes that the quantiser added belong to whoever reads them, so they count."""
        return self._index.get(node.name) not in cut.head


def _quantisation(
    node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]
) -> Quantisation | None:
    """Scale and zero point of a per-tensor uint8 quantiser."""
    if len(node.input) < 3 or not set(node.input[1:3]) <= constants.keys():
        return None
    scale, zero_point = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
    if scale.size != 1 or zero_point.dtype.name != "uint8":
        return None
    return Quantisation(scale=float(scale), zero_point=int(zero_point))
