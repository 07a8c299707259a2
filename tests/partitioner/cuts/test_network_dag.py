"""The DAG of a graph: what depends on an input, what may cross, and where one tensor does."""

from typing import Any

import onnx
from onnx import TensorProto, helper

from isthmus_partitioner.cuts.network_dag import NetworkDag, graph_dag


def graph_of(nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str]) -> NetworkDag:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value(name, TensorProto.FLOAT, [1, 4]) for name in inputs],
        [value(name, TensorProto.FLOAT, [1, 4]) for name in outputs],
        [helper.make_tensor("weight", TensorProto.FLOAT, [1], [1.0])],
    )
    made = {name for node in nodes for name in node.output} | {*inputs}
    return graph_dag(graph, made - {"unknown"})


def branching() -> NetworkDag:
    """constant -> folded; x -> stem -> (left, right) -> join -> y; z joins late."""
    node = helper.make_node
    return graph_of(
        [
            node("Constant", [], ["constant"], value_float=1.0),
            node("Conv", ["x", "weight"], ["stem"]),
            node("Relu", ["stem"], ["stem.relu"]),
            node("Add", ["constant", "weight"], ["folded"]),
            node("Mul", ["stem.relu", "folded"], ["left"]),
            node("Neg", ["stem.relu"], ["unknown"]),
            node("Add", ["left", "unknown"], ["join"]),
            node("Conv", ["join", "weight"], ["last"]),
            node("Add", ["last", "z"], ["y"]),
        ],
        ["x", "z", "weight"],
        ["y", "join"],
    )


def test_constants_are_on_both_sides_and_no_part_of_the_dag() -> None:
    found = branching()
    assert found.nodes == (1, 2, 4, 5, 6, 7, 8)
    assert found.in_network({0, 2}) == {1, 4}
    names = {tensor.name for tensor in found.dag.tensors}
    assert {"constant", "folded", "weight"}.isdisjoint(names)


def test_tensors_know_their_maker_their_readers_and_whether_they_are_outputs() -> None:
    tensors = {tensor.name: tensor for tensor in branching().dag.tensors}
    assert (tensors["x"].producer, tensors["x"].consumers) == (-1, (0,))
    assert (tensors["stem.relu"].producer, tensors["stem.relu"].consumers) == (1, (2, 3))
    assert {name for name, tensor in tensors.items() if tensor.is_output} == {"y", "join"}


def test_a_tensor_may_be_kept_from_crossing() -> None:
    found = branching()
    heads = list(found.single_tensor_heads())
    less = found.without({"stem.relu", "join"})
    kept = {tensor.name for tensor in less.dag.tensors if tensor.is_cuttable}
    before = {tensor.name for tensor in found.dag.tensors if tensor.is_cuttable}
    assert before - kept == {"stem.relu", "join"}
    assert less.nodes == found.nodes
    assert len(list(less.single_tensor_heads())) <= len(heads)


def test_neither_the_inside_of_a_layer_nor_a_tensor_of_unknown_size_may_cross() -> None:
    tensors = branching().dag.tensors
    assert {t.name for t in tensors if not t.is_cuttable} == {"stem", "unknown"}


def test_the_heads_of_one_tensor_are_those_behind_which_one_tensor_crosses() -> None:
    node = helper.make_node
    found = graph_of(
        [
            node("Conv", ["x", "weight"], ["a"]),
            node("Neg", ["a"], ["b"]),
            node("Neg", ["a"], ["unknown"]),
            node("Add", ["b", "unknown"], ["c"]),
            node("Neg", ["c"], ["side"]),
            node("Neg", ["c"], ["unknown2"]),
            node("Neg", ["unknown2"], ["y"]),
        ],
        ["x"],
        ["side", "y"],
    )
    heads = [max(head) for head in found.single_tensor_heads()]
    assert heads == [0, 3, 4, 5]
    late = branching()  # z is there from the beginning, and crosses with whatever else does
    assert list(late.single_tensor_heads()) == []


def test_what_a_subgraph_captures_is_read_by_its_node() -> None:
    node = helper.make_node
    out = [helper.make_tensor_value_info("branch", TensorProto.FLOAT, None)]
    branches: dict[str, Any] = {
        key: helper.make_graph([node(op, ["a"], ["branch"])], key, [], out)
        for key, op in (("then_branch", "Neg"), ("else_branch", "Relu"))
    }
    found = graph_of(
        [
            node("Neg", ["x"], ["a"]),
            node("Greater", ["x", "weight"], ["is_bright"]),
            node("If", ["is_bright"], ["y"], **branches),
        ],
        ["x"],
        ["y"],
    )
    tensors = {tensor.name: tensor for tensor in found.dag.tensors}
    assert tensors["a"].consumers == (2,)
