"""Cutting a network at one tensor or at several at once, into an fp32 head and an fp32 tail."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from isthmus.errors import ModelError
from isthmus_partitioner.graph.macs import macs_of
from isthmus_partitioner.graph.shapes import tensor_shapes
from isthmus_partitioner.graph.surgery import (
    assemble,
    initialisers,
    nodes_between,
    tensor_info,
    used_by,
)

__all__ = ["CutNetwork", "CutPlace"]


@dataclass(frozen=True, slots=True)
class CutPlace:
    """Float tensors that cross together; every path from the input to the output goes through one.

    `shapes` are those of one item. `mac_share` (0-1) of the multiply-accumulates come before; the
    products of two activations, as in attention, are not counted.
    """

    name: str
    tensors: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    mac_share: float


class CutNetwork:
    """A network with known shapes, whose first dimension is the batch."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.model = model
        self._constants = initialisers(graph)
        self._inputs = [info for info in graph.input if info.name not in self._constants]
        self._shapes = tensor_shapes(graph)
        macs = macs_of(graph, self._shapes)
        self._macs = {node.output[0]: count for node, count in zip(graph.node, macs, strict=True)}

    def place(self, name: str, tensors: Sequence[str]) -> CutPlace:
        """The cut through `tensors`; ModelError if they are unknown or no cut."""
        unknown = [tensor for tensor in tensors if tensor not in self._shapes]
        if unknown:
            raise ModelError(
                f"cut {name!r}: the network has no float tensor {unknown[0]!r} of known shape; "
                "it is another version of the network than the cuts were written for"
            )
        self._check(name, tensors)
        before = sum(self._macs[node.output[0]] for node in self._head_nodes(tensors))
        shapes = tuple(self._shapes[tensor] for tensor in tensors)
        return CutPlace(name, tuple(tensors), shapes, before / sum(self._macs.values()))

    def head(self, place: CutPlace) -> onnx.ModelProto:
        """From the network's input to the tensors of the cut."""
        nodes = self._head_nodes(place.tensors)
        return assemble(self.model, nodes, self._inputs, _infos(place), self._constants)

    def tail(self, place: CutPlace) -> onnx.ModelProto:
        """From the tensors of the cut to the network's outputs."""
        nodes = self._tail_nodes(place.tensors)
        outputs = self.model.graph.output
        return assemble(self.model, nodes, _infos(place), outputs, self._constants)

    def _check(self, name: str, tensors: Sequence[str]) -> None:
        needed = {used for node in self._tail_nodes(tensors) for used in used_by(node)}
        around = needed & {info.name for info in self._inputs}
        if around:
            raise ModelError(
                f"cut {name!r}: there is a path from input {min(around)!r} to the output around "
                f"{', '.join(tensors)}; add the tensors that it passes"
            )
        idle = set(tensors) - needed
        if idle:
            raise ModelError(f"cut {name!r}: nothing behind it reads {min(idle)!r}; leave it out")

    def _head_nodes(self, tensors: Sequence[str]) -> list[onnx.NodeProto]:
        return nodes_between(self.model.graph, [info.name for info in self._inputs], tensors)

    def _tail_nodes(self, tensors: Sequence[str]) -> list[onnx.NodeProto]:
        outputs = [info.name for info in self.model.graph.output]
        return nodes_between(self.model.graph, tensors, outputs)


def _infos(place: CutPlace) -> list[onnx.ValueInfoProto]:
    pairs = zip(place.tensors, place.shapes, strict=True)
    return [tensor_info(tensor, "float32", shape) for tensor, shape in pairs]
