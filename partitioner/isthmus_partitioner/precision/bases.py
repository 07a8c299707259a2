"""Ways to quantise a whole network: how ranges are calibrated, and which ops become integers."""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from isthmus import ModelError
from isthmus_partitioner.config import Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.precision.qdq import (
    LAYERS,
    integer_layers,
    quantised_graph,
    tensors_to_range,
)
from isthmus_partitioner.precision.ranges import METHODS, PERCENTILE, Method, collect_ranges
from isthmus_partitioner.precision.splice import Splicer
from isthmus_partitioner.samples import Samples

__all__ = ["Base", "quantised_bases"]

_METHOD_NAMES: dict[Method, str] = {
    "minmax": "extremes",
    "percentile": f"percentile {PERCENTILE}",
}


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A way to quantise: `int8_nodes` (indices) are integers where a mix does not exclude them.

    `is_whole`: all ops that can be, not only layers.
    """

    name: str
    is_whole: bool
    splicer: Splicer
    int8_nodes: frozenset[int]
    nodes: int

    def mix(self, fp32: frozenset[int] = frozenset()) -> onnx.ModelProto:
        """The network with these nodes, and all that the base does not quantise, in fp32."""
        return self.splicer.mix(fp32 | (frozenset(range(self.nodes)) - self.int8_nodes))


def quantised_bases(network: Network, samples: Samples, progress: Progress) -> tuple[Base, ...]:
    """Every method of calibration with every set of ops; ranges are collected in one pass.

    Raises ModelError if ONNX Runtime cannot quantise the network, or would compute it in floats.
    """
    progress(f"collecting ranges from {len(samples)} items")
    ranges = collect_ranges(network, samples, tensors_to_range(network))
    bases: list[Base] = []
    for method in METHODS:
        progress(f"quantising with {_METHOD_NAMES[method]}: uint8 activations, int8 weights")
        qdq = quantised_graph(network, ranges[method])
        kept = {node.name for node in qdq.model.graph.node}
        splicer = Splicer(network.model, qdq)
        layers = frozenset(_layers(network, qdq.nodes, kept))
        count = len(network.model.graph.node)
        bases.append(Base(f"int8, {_METHOD_NAMES[method]}", True, splicer, qdq.nodes, count))
        if layers != qdq.nodes:
            name = f"int8 layers, {_METHOD_NAMES[method]}"
            bases.append(Base(name, False, splicer, layers, count))
    if integer_layers(bases[0].mix()) == 0:
        raise ModelError(f"{network.path}: ONNX Runtime would run none of its layers in int8")
    return tuple(bases)


def _layers(network: Network, quantised: frozenset[int], kept: set[str]) -> Iterator[int]:
    """Layers, and the activations that vanished into them."""
    for index in quantised:
        node = network.model.graph.node[index]
        if node.op_type in LAYERS or node.name not in kept:
            yield index
