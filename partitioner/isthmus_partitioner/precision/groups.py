"""What runs in one precision: a layer with everything that a runtime fuses into it.

A change of precision inside such a group would cost a conversion for nothing, and a Clip whose
Conv is excluded would be given the range before the clip.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx

from isthmus_partitioner.graph.surgery import used_by

__all__ = ["Group", "coarser", "fused_groups"]

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_ACTIVATIONS = frozenset(
    {
        "BatchNormalization", "Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish",
        "LeakyRelu", "PRelu", "Relu", "Selu", "Sigmoid", "Softmax", "Softplus", "Tanh",
    }
)  # fmt: skip
_COMBINING = frozenset({"Add", "Div", "Mul", "Pow", "Sub", "Where"})
_MOVING = frozenset(
    {"Cast", "Dropout", "Flatten", "Identity", "Pad", "Reshape", "Squeeze", "Transpose",
     "Unsqueeze"}
)  # fmt: skip
_FOLLOWING = frozenset(
    {"AveragePool", "Concat", "DepthToSpace", "GlobalAveragePool", "GlobalMaxPool", "MaxPool",
     "Resize", "Slice", "SpaceToDepth", "Split", "Upsample"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes of a graph by index, named after the first layer among them (or the first node)."""

    name: str
    nodes: frozenset[int]
    macs: int


def fused_groups(graph: onnx.GraphProto, macs: Sequence[int]) -> tuple[Group, ...]:
    """Every node of the graph in exactly one group, groups in the order of their first nodes.

    A layer takes along its bias, its activation (Sigmoid and Mul of SiLU, Erf of GELU, too), the
    Add of a skip connection with its activation, and pools and reshapes behind it. What reads
    several groups goes with the last of them. An attention block makes two: the projections to
    query, key and value; the two products with all between them. Everything else stands for
    itself. One sweep, linear in the graph's size.
    """
    joined = _Joined(len(graph.node))
    made_by = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    parents = [sorted({made_by[n] for n in used_by(node) if n in made_by}) for node in graph.node]
    for index, node in enumerate(graph.node):
        leader = _leader(node, parents[index], joined)
        if leader is not None:
            joined.join(leader, index)
    _join_attention(graph.node, parents, joined)
    members: dict[int, list[int]] = {}
    for index in range(len(graph.node)):
        members.setdefault(joined.find(index), []).append(index)
    return tuple(_group(graph.node, nodes, macs) for nodes in members.values())


class _Joined:
    """Disjoint sets of node indices (Tarjan, 1975), named by their least member."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def find(self, index: int) -> int:
        while self._above[index] != index:
            self._above[index] = self._above[self._above[index]]
            index = self._above[index]
        return index

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.find(one), self.find(other)))
        self._above[second] = first


def _leader(node: onnx.NodeProto, parents: Sequence[int], joined: _Joined) -> int | None:
    """The producer whose group a node joins, None if it opens one."""
    groups = {joined.find(parent) for parent in parents}
    if node.op_type in _COMBINING | _FOLLOWING and parents:
        return parents[-1]  # the last to be ready: that is the layer that a runtime fuses it into
    if node.op_type in _ACTIVATIONS | _MOVING and len(groups) == 1:
        return parents[0]
    return None


def _join_attention(
    nodes: Sequence[onnx.NodeProto], parents: Sequence[Sequence[int]], joined: _Joined
) -> None:
    """Join the two products of attention, and the projections that they read.

    The second product is a MatMul of two computed tensors, one of which is the group of another
    such MatMul (with its scale, mask and Softmax).
    """
    products = [
        index
        for index, node in enumerate(nodes)
        if node.op_type == "MatMul" and len({joined.find(p) for p in parents[index]}) == 2
    ]
    for second in products:
        read = {joined.find(parent) for parent in parents[second]}
        first = next((p for p in products if p < second and joined.find(p) in read), None)
        if first is None:
            continue
        sources = read | {joined.find(parent) for parent in parents[first]}
        sources.discard(joined.find(first))
        layers = [source for source in sources if nodes[source].op_type in _LAYERS]
        _join_all(joined, layers)
        joined.join(first, second)


def _join_all(joined: _Joined, members: Iterable[int]) -> None:
    some = list(members)
    for member in some[1:]:
        joined.join(some[0], member)


def _group(nodes: Sequence[onnx.NodeProto], members: list[int], macs: Sequence[int]) -> Group:
    layers = [index for index in members if nodes[index].op_type in _LAYERS]
    name = nodes[(layers or members)[0]].name
    return Group(name, frozenset(members), sum(macs[index] for index in members))


def coarser(
    groups: Sequence[Group], borders: Iterable[tuple[int, int]], most: int
) -> tuple[Group, ...]:
    """At most `most` groups: the one with the fewest MACs joins its least neighbour, repeatedly.

    `borders` are pairs of neighbours, as indices of groups. Groups without a neighbour stay, so
    that more may be left.
    """
    members = {index: [group] for index, group in enumerate(groups)}
    near: dict[int, set[int]] = {index: set() for index in members}
    for a, b in borders:
        near[a].add(b)
        near[b].add(a)

    def weight(index: int) -> tuple[int, int]:
        return sum(group.macs for group in members[index]), index

    while len(members) > most and any(near.values()):
        least = min((index for index in members if near[index]), key=weight)
        into = min(near[least], key=weight)
        members[into] += members.pop(least)
        for other in near.pop(least):
            near[other].discard(least)
            if other != into:
                near[other].add(into)
                near[into].add(other)
    joined = [_united(parts) for parts in members.values()]
    return tuple(sorted(joined, key=lambda group: min(group.nodes)))


def _united(groups: Sequence[Group]) -> Group:
    heaviest = max(groups, key=lambda group: group.macs)
    nodes = frozenset(node for group in groups for node in group.nodes)
    return Group(heaviest.name, nodes, sum(group.macs for group in groups))
