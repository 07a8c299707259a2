"""Fused groups: a layer and all that runs in its precision."""

import onnx
from tests.partitioner.graph.graphs import parsed, weights
from tests.partitioner.precision.tiny import with_skip

from isthmus_partitioner.precision.groups import Group, coarser, fused_groups


def grouped(model: onnx.ModelProto) -> list[set[str]]:
    """Groups by what their nodes make."""
    nodes = model.graph.node
    groups = fused_groups(model.graph, [0] * len(nodes))
    return [{nodes[index].output[0] for index in group.nodes} for group in groups]


def test_a_layer_takes_along_its_activation_and_the_add_of_a_skip_connection() -> None:
    assert grouped(with_skip()) == [{"a", "ra"}, {"b", "s", "rs", "p"}, {"y"}]


def test_the_parts_of_silu_and_gelu_stay_with_their_layer() -> None:
    model = parsed(
        """g (float[N,4] x) => (float[N,4] y) {
            a = MatMul (x, w)
            biased = Add (a, b)
            gate = Sigmoid (biased)
            silu = Mul (biased, gate)
            c = MatMul (silu, w)
            half = Div (c, two)
            erf = Erf (half)
            one = Add (erf, two)
            y = Mul (c, one)
        }""",
        w=weights(4, 4), b=weights(4), two=weights(1),
    )  # fmt: skip
    assert grouped(model) == [{"a", "biased", "gate", "silu"}, {"c", "half", "erf", "one", "y"}]


def test_attention_is_its_projections_and_its_products() -> None:
    model = parsed(
        """g (float[N,4,8] x) => (float[N,4,8] y) {
            q = MatMul (x, w)
            k = MatMul (x, w)
            kt = Transpose <perm = [0,2,1]> (k)
            v = MatMul (x, w)
            likeness = MatMul (q, kt)
            scaled = Mul (likeness, scale)
            shares = Softmax (scaled)
            mixed = MatMul (shares, v)
            out = MatMul (mixed, w)
            y = Add (out, x)
        }""",
        w=weights(8, 8), scale=weights(1),
    )  # fmt: skip
    assert grouped(model) == [
        {"q", "k", "kt", "v"}, {"likeness", "scaled", "shares", "mixed"}, {"out", "y"},
    ]  # fmt: skip


def test_what_joins_branches_goes_with_the_last_of_them() -> None:
    model = parsed(
        """g (float[N,3,8,8] x) => (float[N,8,8,8] y) {
            a = Conv (x, w)
            b = Conv (x, w)
            y = Concat <axis = 1> (a, b)
        }""",
        w=weights(4, 3, 1, 1),
    )
    assert grouped(model) == [{"a"}, {"b", "y"}]


def test_every_node_is_in_one_group_whose_name_is_its_layers() -> None:
    model = with_skip()
    for index, node in enumerate(model.graph.node):
        node.name = f"node{index}"
    groups = fused_groups(model.graph, list(range(len(model.graph.node))))
    members = sorted(index for group in groups for index in group.nodes)
    assert members == list(range(len(model.graph.node)))
    assert [(group.name, group.macs) for group in groups] == [
        ("node0", 0 + 1), ("node2", 2 + 3 + 4 + 5), ("node6", 6),
    ]  # fmt: skip


def test_the_least_groups_join_a_neighbour_until_there_are_few() -> None:
    macs = (5, 1, 9, 2)
    chain = [Group(f"g{i}", frozenset({i}), n) for i, n in enumerate(macs)]
    few = coarser(chain, [(0, 1), (1, 2), (2, 3)], 2)
    assert few == (Group("g0", frozenset({0, 1}), 6), Group("g2", frozenset({2, 3}), 11))
    assert coarser(chain, [], 2) == tuple(chain)
