"""From the names that ONNX Runtime gives its fused nodes back to the nodes of the graph."""

import re
from collections.abc import Iterator

import onnx

from isthmus_partitioner.graph.macs import MAC_OPS

__all__ = ["Anchors"]


class Anchors:
    """From the names that ONNX Runtime gives its fused nodes back to the original ones."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._nodes = list(graph.node)
        self._made_by = {name: i for i, node in enumerate(self._nodes) for name in node.output}
        self._index = self._made_by | {node.name: i for i, node in enumerate(self._nodes)}

    def find(self, name: str, op_type: str) -> int | None:
        """The index of the node that the time belongs to, None for one the runtime added.

        A fused layer may bear the name of its last tensor (Conv + Add + Clip); its time belongs
        to the layer.
        """
        index = next((self._index[n] for n in _spellings(name) if n in self._index), None)
        if index is not None and ("Conv" in op_type or "Gemm" in op_type or "MatMul" in op_type):
            return self._layer_behind(index)
        return index

    def _layer_behind(self, index: int) -> int:
        place = index
        for _ in range(4):  # a layer, its Add, its activation
            if self._nodes[place].op_type in MAC_OPS:
                return place
            before = [self._made_by[n] for n in self._nodes[place].input if n in self._made_by]
            if not before:
                break
            place = max(before)
        return index


_ADDED = re.compile(
    r"(_nchwc|_token_\d+|_QuantizeLinear|_DequantizeLinear|/duplicated|_quant|/\w+Fusion/?)$"
)


def _spellings(name: str) -> Iterator[str]:
    """The name, then without one suffix of the runtime after the other."""
    yield name
    while (shorter := _ADDED.sub("", name)) != name:
        name = shorter
        yield name
