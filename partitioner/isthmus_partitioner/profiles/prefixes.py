"""Which prefixes of a network are worth timing, so that sums of its layers' times can be mended."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus_partitioner.cuts.cut import NetworkCut, cut_before
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import used_by

__all__ = ["prefix_cuts"]

_PREFIXES = 3  # with more, the error of summed node times falls no further
_WINDOW = 0.12  # how far from its place in the work a prefix may end


def prefix_cuts(network: Network) -> tuple[NetworkCut, ...]:
    """At most three prefixes in the order of nodes, evenly spread over the work, shortest first.

    Each ends where few tensors cross, best a single one that a layer reads: runtimes fuse what
    follows a layer into it, and a prefix that ends in between would be another network. One sweep,
    O(nodes + edges).
    """
    total = sum(network.macs)
    if not total:
        return ()
    shares = np.cumsum(network.macs) / total
    crossing = _crossing(network)
    ends = dict.fromkeys(_ends(shares, crossing))
    return tuple(cut_before(network, frozenset(range(end + 1))) for end in ends)


@dataclass(frozen=True, slots=True)
class _Crossing:
    """For each node, of the tensors alive behind it: how many, and how many no layer reads."""

    alive: NDArray[np.int64]
    unread: NDArray[np.int64]


def _ends(shares: NDArray[np.float64], crossing: _Crossing) -> Iterator[int]:
    for number in range(1, _PREFIXES + 1):
        target = number / (_PREFIXES + 1)
        near = np.flatnonzero((np.abs(shares - target) <= _WINDOW) & (crossing.alive > 0))
        keys = [(crossing.unread[i], crossing.alive[i], abs(shares[i] - target), i) for i in near]
        if keys:
            yield int(min(keys)[-1])


def _crossing(network: Network) -> _Crossing:
    """Tensors that depend on an input count; the inputs themselves do not."""
    nodes = network.model.graph.node
    made: dict[str, int] = {}
    last: dict[str, int] = {}
    read_by_layer: set[str] = set()
    for index, node in enumerate(nodes):
        for name in used_by(node) & made.keys():
            last[name] = index
            if network.macs[index]:
                read_by_layer.add(name)
        made.update((name, index) for name in node.output if name in network.tensors)
    alive, unread = np.zeros(len(nodes), np.int64), np.zeros(len(nodes), np.int64)
    for name, end in last.items():
        alive[made[name] : end] += 1
        if name not in read_by_layer:
            unread[made[name] : end] += 1
    return _Crossing(alive, unread)
