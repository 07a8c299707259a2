"""A cut of a network: which nodes run before it, and which tensors cross."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from isthmus import TensorSpec
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import used_by

__all__ = ["NetworkCut", "cut_before", "nested_families"]


@dataclass(frozen=True, slots=True)
class NetworkCut:
    """The nodes of `head` (indices, closed under predecessors) run on the device.

    `tensors` are what the others read of theirs or of the model's inputs, in the order in which
    they are made; `answers` the model's outputs that the head has computed. `macs_share` (0-1) of
    the multiply-accumulates lie in the head.
    """

    head: frozenset[int]
    tensors: tuple[TensorSpec, ...]
    answers: tuple[str, ...]
    macs_share: float

    @property
    def title(self) -> str:
        """The tensors' names in one line."""
        return " + ".join(spec.name for spec in self.tensors)

    def nests_in(self, other: "NetworkCut") -> bool:
        """Whether all that runs before this one runs before the other, too."""
        return self.head <= other.head


def cut_before(network: Network, head: frozenset[int]) -> NetworkCut:
    """The cut whose head these nodes are; nodes that depend on no input count for nothing."""
    nodes = network.model.graph.node
    made = [spec.name for spec in network.inputs]
    made += [name for index in sorted(head) for name in nodes[index].output]
    read = {name for index, node in enumerate(nodes) if index not in head for name in used_by(node)}
    known = {spec.name: spec for spec in network.inputs} | dict(network.tensors)
    available = set(made)
    total = sum(network.macs)
    before = sum(network.macs[index] for index in head)
    return NetworkCut(
        head=head,
        tensors=tuple(known[name] for name in made if name in read and name in known),
        answers=tuple(spec.name for spec in network.outputs if spec.name in available),
        macs_share=before / total if total else 0.0,
    )


def nested_families(cuts: Iterable[NetworkCut]) -> Iterator[tuple[NetworkCut, ...]]:
    """Cuts in families in which each nests in the next; as few families as a greedy walk finds.

    A family shares one chain of segments, so that the device holds the network once for it.
    """
    families: list[list[NetworkCut]] = []
    for cut in sorted(cuts, key=lambda cut: len(cut.head)):
        family = next((f for f in families if f[-1].nests_in(cut)), None)
        if family is None:
            families.append([cut])
        else:
            family.append(cut)
    yield from (tuple(family) for family in families)
