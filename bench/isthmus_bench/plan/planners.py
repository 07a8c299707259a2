"""What published planners would choose: layer times added up, fp32 on the wire, no compression.

* chain: Kang et al., "Neurosurgeon", ASPLOS 2017: the best place where one tensor crosses.
* DAG: Hu et al., "Dynamic Adaptive DNN Surgery", INFOCOM 2019: a minimum cut.

Both may leave everything on the device or send the raw input, and know bandwidth, round trip and
the answer's way back.
The layer times that they add up come from our profile, whose sums are those of whole networks and
prefixes; that is kinder to them than the sums that they were published with.
"""

from dataclasses import dataclass

import numpy as np

from isthmus import TensorSpec
from isthmus_partitioner import Network
from isthmus_partitioner.cuts.dag import Costs, Dag, FoundCut
from isthmus_partitioner.cuts.network_dag import NetworkDag, network_dag
from isthmus_partitioner.cuts.parametric import cut_after, minimum_cut
from isthmus_partitioner.planning.node_costs import NodeCosts

__all__ = ["PLANNERS", "Choice", "Planners", "chain_choice", "dag_choice"]

PLANNERS = ("neurosurgeon", "dag min-cut")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a planner chose, and the latency that it expects.

    `head` are nodes of the DAG, later of the network: empty for the raw input, None for all on the
    device.
    """

    head: frozenset[int] | None
    predicted_ms: float


def chain_choice(
    dag: Dag, heads: tuple[frozenset[int], ...], costs: Costs, bps: float, return_ms: float
) -> Choice:
    """The best of the raw input, these places, and no cut."""
    found = [cut_after(dag, costs, head) for head in (frozenset[int](), *heads)]
    best = min(found, key=lambda cut: cut.cost_ms(bps))
    return _or_local(best, costs, bps, return_ms)


def dag_choice(dag: Dag, costs: Costs, bps: float, return_ms: float) -> Choice:
    """The best of all cuts."""
    return _or_local(minimum_cut(dag, costs, bps), costs, bps, return_ms)


def _or_local(cut: FoundCut, costs: Costs, bps: float, return_ms: float) -> Choice:
    local_ms, remote_ms = float(costs.edge_ms.sum()), cut.cost_ms(bps) + return_ms
    if not cut.tensors or local_ms <= remote_ms:
        return Choice(None, local_ms)
    return Choice(cut.head, remote_ms)


class Planners:
    """Both planners for one network on one device."""

    def __init__(self, network: Network, costs: NodeCosts) -> None:
        self._places = network_dag(network)
        self._heads = tuple(self._places.single_tensor_heads())
        self._costs = _fp32_costs(network, self._places, costs)

    def choices(self, bps: float, return_ms: float) -> dict[str, Choice]:
        """By the name of the planner; heads as nodes of the network.

        `return_ms`: round trip and answer, which whatever is not local has to wait for.
        """
        dag = self._places.dag
        chain = chain_choice(dag, self._heads, self._costs, bps, return_ms)
        found = (chain, dag_choice(dag, self._costs, bps, return_ms))
        return dict(zip(PLANNERS, map(self._in_network, found), strict=True))

    def _in_network(self, choice: Choice) -> Choice:
        if choice.head is None:
            return choice
        return Choice(self._places.in_network(choice.head), choice.predicted_ms)


def _fp32_costs(network: Network, places: NetworkDag, costs: NodeCosts) -> Costs:
    """Tensors cross with the bytes that they have in memory; encoding is free."""
    specs: dict[str, TensorSpec] = {spec.name: spec for spec in network.inputs}
    specs |= network.tensors
    nodes = list(places.nodes)
    tensors = places.dag.tensors
    sizes = [specs[t.name].nbytes if t.name in specs else 0 for t in tensors]
    return Costs(
        edge_ms=costs.device["fp32"][nodes],
        cloud_ms=costs.cloud[nodes],
        wire_bytes=np.array(sizes, np.float64),
        wire_ms=np.zeros(len(tensors)),
    )
