"""Nested cuts of a network, evenly spread over its work: what a device holds as candidates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isthmus import ModelError
from isthmus_partitioner import Network
from isthmus_partitioner.cuts.cut import NetworkCut, cut_before
from isthmus_partitioner.graph.surgery import used_by
from isthmus_partitioner.parts.boundary import HeadGraph

__all__ = ["nested_cuts", "spread"]


def nested_cuts(network: Network, heads: Sequence[HeadGraph], count: int) -> tuple[NetworkCut, ...]:
    """So many cuts in the order of nodes, each of which all `heads` can be divided at.

    As a planner would: where few tensors cross, best one that a layer reads, for runtimes fuse what
    follows a layer into it. ModelError if the network has fewer places.
    """
    places = list(_places(network, heads))
    if len(places) < count:
        raise ModelError(
            f"{network.path}: {len(places)} places to divide it at, {count} are needed; "
            "ask for fewer candidates"
        )
    layers = _read_by_layers(network)
    chosen: list[NetworkCut] = []
    for number in range(1, count + 1):
        rank = _Rank(layers, number / (count + 1), 0.5 / (count + 1))
        chosen.append(min((cut for cut in places if cut not in chosen), key=rank))
    return tuple(sorted(chosen, key=lambda cut: len(cut.head)))


@dataclass(frozen=True, slots=True)
class _Rank:
    """How fit a cut is for the share `target` of the work; less is better."""

    layers: frozenset[str]
    target: float
    window: float

    def __call__(self, cut: NetworkCut) -> tuple[float, ...]:
        away = abs(cut.macs_share - self.target)
        unread = sum(spec.name not in self.layers for spec in cut.tensors)
        return (away > self.window, unread, len(cut.tensors), away)


def spread(count: int, of: int) -> tuple[int, ...]:
    """`count` of the places 0 to `of` - 1, evenly."""
    return tuple(round((i + 1) * (of + 1) / (count + 1)) - 1 for i in range(count))


def _places(network: Network, heads: Sequence[HeadGraph]) -> Iterator[NetworkCut]:
    """Prefixes in the order of nodes; of those with the same tensors the first."""
    seen: set[tuple[str, ...]] = set()
    for end in range(1, len(network.model.graph.node)):
        cut = cut_before(network, frozenset(range(end)))
        names = tuple(spec.name for spec in cut.tensors)
        if names in seen or not 0 < cut.macs_share < 1:
            continue
        seen.add(names)
        if names and all(head.at(cut) is not None for head in heads):
            yield cut


def _read_by_layers(network: Network) -> frozenset[str]:
    nodes = network.model.graph.node
    return frozenset(
        name for index, node in enumerate(nodes) if network.macs[index] for name in used_by(node)
    )
