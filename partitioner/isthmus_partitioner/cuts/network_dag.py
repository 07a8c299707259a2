"""The DAG of a network: nodes that depend on an input, and the tensors that may cross."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import onnx

from isthmus_partitioner.cuts.dag import MODEL_INPUT, Dag, DagTensor
from isthmus_partitioner.graph.macs import MAC_OPS
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import initialisers, used_by

__all__ = ["NetworkDag", "graph_dag", "network_dag"]


# What runtimes fuse into the layer before: a cut in front of one of these only costs.
ACTIVATIONS = frozenset(
    {"Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"}
)


@dataclass(frozen=True, slots=True)
class NetworkDag:
    """Node i of `dag` is node `nodes[i]` of the network's graph.

    Nodes that depend on no input are left out: what they make is constant, and on both sides.
    """

    dag: Dag
    nodes: tuple[int, ...]

    def in_network(self, head: Iterable[int]) -> frozenset[int]:
        """The same nodes by their numbers in the graph."""
        return frozenset(self.nodes[node] for node in head)

    def without(self, names: Collection[str]) -> "NetworkDag":
        """The same, but these tensors may not cross."""
        tensors = (
            replace(tensor, is_cuttable=tensor.is_cuttable and tensor.name not in names)
            for tensor in self.dag.tensors
        )
        return NetworkDag(Dag(self.dag.node_count, tuple(tensors)), self.nodes)

    def single_tensor_heads(self) -> Iterator[frozenset[int]]:
        """Heads behind which exactly one tensor crosses, shallow to deep; O(nodes + readings).

        The nodes run in the graph's order; `input` and `local` are not among them.
        """
        tensors = self.dag.tensors
        ends: list[list[int]] = [[] for _ in self.nodes]
        made: list[list[int]] = [[] for _ in self.nodes]
        alive = set()
        for number, tensor in enumerate(tensors):
            if tensor.consumers:
                ends[tensor.consumers[-1]].append(number)
                if tensor.producer == MODEL_INPUT:
                    alive.add(number)
                else:
                    made[tensor.producer].append(number)
        for node in range(self.dag.node_count):
            alive.difference_update(ends[node])
            alive.update(made[node])
            if len(alive) == 1 and all(tensors[number].is_cuttable for number in alive):
                yield frozenset(range(node + 1))


def network_dag(network: Network) -> NetworkDag:
    """Tensors whose type and size are known may cross; see `graph_dag`."""
    return graph_dag(network.model.graph, network.tensors.keys())


def graph_dag(graph: onnx.GraphProto, known: Collection[str]) -> NetworkDag:
    """The DAG of a graph in topological order.

    A node reads what its subgraphs capture from outside, too. Tensors may cross if they are
    `known` and not inside a layer, between a multiplication and the activation that alone reads it:
    runtimes fuse the two.
    """
    constants = initialisers(graph).keys()
    inputs = [info.name for info in graph.input if info.name not in constants]
    makers = dict.fromkeys(inputs, MODEL_INPUT)
    readers: dict[str, list[int]] = {name: [] for name in inputs}
    nodes: list[int] = []
    for index, node in enumerate(graph.node):
        reads = used_by(node) & makers.keys()
        if reads:
            for name in reads:
                readers[name].append(len(nodes))
            for name in filter(None, node.output):
                makers[name] = len(nodes)
                readers[name] = []
            nodes.append(index)
    kept = [graph.node[index] for index in nodes]
    outputs = {info.name for info in graph.output}
    tensors = tuple(
        DagTensor(
            name=name,
            producer=maker,
            consumers=tuple(readers[name]),
            is_cuttable=name in known
            and not (name not in outputs and _is_inside_a_layer(kept, maker, readers[name])),
            is_output=name in outputs,
        )
        for name, maker in makers.items()
    )
    return NetworkDag(Dag(len(nodes), tensors), tuple(nodes))


def _is_inside_a_layer(nodes: list[onnx.NodeProto], maker: int, readers: list[int]) -> bool:
    if maker == MODEL_INPUT or len(readers) != 1:
        return False
    return nodes[maker].op_type in MAC_OPS and nodes[readers[0]].op_type in ACTIVATIONS
