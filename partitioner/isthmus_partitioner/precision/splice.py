"""Any mix of precisions, made of the fp32 graph and one QDQ graph without quantising again.

In a mix, a tensor `t` of the network keeps its name wherever it is computed. Behind it may stand

    t -> QuantizeLinear -> t_QuantizeLinear_Output -> DequantizeLinear -> t_DequantizeLinear_Output

once, with the QDQ graph's scale, whichever precision made `t`. Integer nodes read the dequantised
tensor. Float nodes read `t` itself where a float node made it, else the dequantised one: what the
runtime fuses into an integer layer never exists as a float. (Gemm and MatMul are fused with a float
answer as well: theirs is read as it is.) For the same reason an output `t` of
the network that an integer node makes is the dequantised one, and its raw form has another name.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx
from onnx import helper

from isthmus_partitioner.graph.surgery import assemble, initialisers, producers
from isthmus_partitioner.precision.barriers import kept_float
from isthmus_partitioner.precision.qdq import FLOAT_ANSWERS, QdqGraph

__all__ = ["Splicer", "dequantised_name", "quantised_name"]

_QUANTISED = "_QuantizeLinear_Output"
_DEQUANTISED = "_DequantizeLinear_Output"
_RAW = "_QuantizeLinear_Input"


def quantised_name(tensor: str) -> str:
    """The name of a tensor's uint8 form, in every mix that has one."""
    return f"{tensor}{_QUANTISED}"


def dequantised_name(tensor: str) -> str:
    """The name of what integer nodes read (but for outputs of the network)."""
    return f"{tensor}{_DEQUANTISED}"


class Splicer:
    """Makes mixes of one network and its QDQ graph; each takes one sweep over the nodes."""

    def __init__(self, network: onnx.ModelProto, qdq: QdqGraph) -> None:
        self._network = network
        self._source = _Source.read(network.graph, qdq)
        self._constants = initialisers(network.graph) | initialisers(qdq.model.graph)

    def mix(self, fp32: Collection[int]) -> onnx.ModelProto:
        """The network with the nodes `fp32` (indices), and all never quantised, in fp32.

        An activation that the quantiser removed goes with the layer before it.
        """
        graph = self._network.graph
        nodes = list(kept_float(list(_Mix(self._source, frozenset(fp32)).nodes())))
        return assemble(self._network, nodes, graph.input, graph.output, self._constants)


@dataclass(frozen=True, slots=True)
class _Source:
    """What a mix is made of; `versions` are the QDQ graph's nodes by name.

    `quantisers` are its QuantizeLinears by the tensor that the network knows, `made_by` says which
    node of it makes a tensor.
    """

    graph: onnx.GraphProto
    int8_nodes: frozenset[int]
    versions: Mapping[str, onnx.NodeProto]
    quantisers: Mapping[str, onnx.NodeProto]
    made_by: Mapping[str, onnx.NodeProto]

    @staticmethod
    def read(graph: onnx.GraphProto, qdq: QdqGraph) -> "_Source":
        nodes = qdq.model.graph.node
        quantisers = {
            node.output[0].removesuffix(_QUANTISED): node
            for node in nodes
            if node.op_type == "QuantizeLinear"
        }
        versions = {node.name: node for node in nodes}
        return _Source(graph, qdq.nodes, versions, quantisers, producers(qdq.model.graph))


class _Mix:
    """One sweep: every node in its precision, conversions before their first readers."""

    def __init__(self, source: _Source, fp32: frozenset[int]) -> None:
        self._source = source
        self._fp32 = fp32
        self._outputs = {info.name for info in source.graph.output}
        self._integer_made: set[str] = set()  # tensors that an integer node makes
        self._never_float: set[str] = set()  # those of them that no float node may read
        self._emitted: set[str] = set()

    def nodes(self) -> Iterator[onnx.NodeProto]:
        """In topological order."""
        for index, node in enumerate(self._source.graph.node):
            version = self._source.versions.get(node.name)
            if not self._is_integer(index, node, version):
                yield from self._float_node(node)
                continue
            self._integer_made.update(node.output)
            if node.op_type not in FLOAT_ANSWERS:
                self._never_float.update(node.output)
            if version is not None:
                yield from self._integer_node(version)
            for name in self._outputs.intersection(node.output):
                yield from self._conversion(name)

    def _is_integer(self, index: int, node: onnx.NodeProto, version: onnx.NodeProto | None) -> bool:
        if version is None:  # removed: it vanished into the layer before it
            return node.input[0] in self._integer_made
        return index in self._source.int8_nodes and index not in self._fp32

    def _float_node(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        copy = _copied(node)
        for place, name in enumerate(node.input):
            if name in self._never_float and name in self._source.quantisers:
                yield from self._conversion(name)
                copy.input[place] = self._dequantised(name)
        yield copy

    def _integer_node(self, version: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        copy = _copied(version)
        for place, name in enumerate(version.input):
            maker = self._source.made_by.get(name)
            if maker is None or maker.op_type != "DequantizeLinear":
                continue
            if maker.input[0] in self._source.made_by:
                tensor = maker.input[0].removesuffix(_QUANTISED)
                yield from self._conversion(tensor)
                copy.input[place] = self._dequantised(tensor)
            else:
                yield from self._weight(maker)
                copy.input[place] = _weight_name(maker)
        for place, name in enumerate(version.output):
            copy.output[place] = self._raw(name.removesuffix(_RAW))
        yield copy

    def _conversion(self, tensor: str) -> Iterator[onnx.NodeProto]:
        """QuantizeLinear and DequantizeLinear behind a tensor, at their first use."""
        if tensor in self._emitted or tensor not in self._source.quantisers:
            return
        self._emitted.add(tensor)
        parameters = self._source.quantisers[tensor].input[1:]
        middle = quantised_name(tensor)
        raw, dequantised = [self._raw(tensor), *parameters], [middle, *parameters]
        yield helper.make_node("QuantizeLinear", raw, [middle], f"{tensor}_QuantizeLinear")
        yield helper.make_node(
            "DequantizeLinear",
            dequantised,
            [self._dequantised(tensor)],
            f"{tensor}_DequantizeLinear",
        )

    def _weight(self, maker: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        name = _weight_name(maker)
        if name not in self._emitted:
            self._emitted.add(name)
            copy = _copied(maker)
            copy.output[0] = name
            yield copy

    def _raw(self, tensor: str) -> str:
        return f"{tensor}{_RAW}" if self._is_replaced(tensor) else tensor

    def _dequantised(self, tensor: str) -> str:
        return tensor if self._is_replaced(tensor) else dequantised_name(tensor)

    def _is_replaced(self, tensor: str) -> bool:
        is_answer = tensor in self._outputs and tensor in self._integer_made
        return is_answer and tensor in self._source.quantisers


def _weight_name(maker: onnx.NodeProto) -> str:
    """A dequantised bias bears the bias's own name, which a float node may read beside it."""
    return dequantised_name(maker.output[0].removesuffix(_DEQUANTISED))


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
