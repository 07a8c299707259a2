"""One-tensor cuts: exactly the tensors that every path goes through."""

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.partitioner.networks import WIDE, Builder, two_branches
from tests.partitioner.single import one_tensor_cuts

from isthmus_partitioner import Network
from isthmus_partitioner.cuts.dag import MODEL_INPUT
from isthmus_partitioner.cuts.network_dag import NetworkDag, graph_dag

Read = Callable[[onnx.ModelProto], Network]


def test_no_cut_lies_beside_a_skip_connection(network: Network) -> None:
    assert {"inner.relu", "outer"}.isdisjoint(one_tensor_cuts(network))


def test_no_cut_lies_inside_parallel_branches(read: Read) -> None:
    tensors = list(one_tensor_cuts(read(two_branches())))
    assert tensors == ["stem.relu", "joined", "last.relu", "pool", "features"]


def test_no_cut_lies_between_a_layer_and_its_activation(network: Network) -> None:
    assert "stem" not in one_tensor_cuts(network)


def test_no_cut_lies_before_the_first_layer(network: Network) -> None:
    assert {"real", "scaled", "planes"}.isdisjoint(one_tensor_cuts(network))


def test_depth_is_counted_in_multiply_accumulates(network: Network) -> None:
    stem, inner, outer = 8 * 8 * 8 * 27, 8 * 8 * WIDE * 72, 8 * 8 * 8 * 9 * WIDE
    last, classes = 4 * 4 * 12 * 72, 12 * 5
    total = stem + inner + outer + last + classes
    shares = {name: cut.macs_share for name, cut in one_tensor_cuts(network).items()}
    assert shares["stem.relu"] == stem / total
    assert shares["sum"] == (stem + inner + outer) / total
    assert shares["features"] == (total - classes) / total


def test_a_tensor_that_a_subgraph_reads_from_outside_is_still_alive(read: Read) -> None:
    build = Builder()
    stem = build.op("Relu", [build.conv(build.picture(), "stem", (3, 8))], "stem.relu")
    middle = build.op("Relu", [build.conv(stem, "middle", (8, 8))], "middle.relu")
    build.op("ReduceMean", [middle], "mean_value", keepdims=0)
    build.constant("least", np.asarray(0, np.float32))
    build.op("Greater", ["mean_value", "least"], "is_bright")
    out = [helper.make_tensor_value_info("branch", TensorProto.FLOAT, None)]
    branches = {
        key: helper.make_graph([helper.make_node(op, [stem], ["branch"])], key, [], out)
        for key, op in (("then_branch", "Neg"), ("else_branch", "Relu"))
    }
    build.op("If", ["is_bright"], "picked", **branches)
    build.op("Add", ["picked", middle], "mixed")
    build.classes("mixed", 8)
    tensors = one_tensor_cuts(read(build.model()))
    assert "stem.relu" in tensors
    assert {"middle.relu", "picked"}.isdisjoint(tensors)


@st.composite
def graphs(draw: st.DrawFn) -> onnx.GraphProto:
    """Random networks of nodes with one or two inputs, in topological order, none for nothing."""
    names = ["input"]
    nodes = []
    for index in range(draw(st.integers(2, 12))):
        sources = draw(st.lists(st.sampled_from(names[-4:]), min_size=1, max_size=2, unique=True))
        nodes.append(helper.make_node("Mix", sources, [f"t{index}"], name=f"n{index}"))
        names.append(f"t{index}")
    value = helper.make_tensor_value_info
    wanted = {names[-1]}
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
    return helper.make_graph(
        [node for node in nodes if wanted.intersection(node.output)],
        "random",
        [value("input", TensorProto.FLOAT, ["N", 4])],
        [value(names[-1], TensorProto.FLOAT, ["N", 4])],
    )


def reaches_output_without(graph: onnx.GraphProto, avoided: str) -> bool:
    """Whether some path from the input to the output does not go through `avoided`."""
    reached = {"input"} - {avoided}
    for node in graph.node:
        if reached.intersection(node.input):
            reached.update(set(node.output) - {avoided})
    return graph.output[0].name in reached


def inner(graph: onnx.GraphProto) -> Iterable[str]:
    """All tensors behind which something is still to be computed."""
    return [node.output[0] for node in graph.node][:-1]


def crossing(places: NetworkDag, head: frozenset[int]) -> set[str]:
    """What is read behind a head of what it made."""
    return {
        tensor.name
        for tensor in places.dag.tensors
        if tensor.producer in head | {MODEL_INPUT} and not head.issuperset(tensor.consumers)
    }


@given(graphs())
def test_a_cut_is_a_tensor_without_which_the_output_cannot_be_reached(
    graph: onnx.GraphProto,
) -> None:
    places = graph_dag(graph, {name for node in graph.node for name in node.output} | {"input"})
    heads = list(places.single_tensor_heads())
    found = {name for head in heads for name in crossing(places, head)} - {"input"}
    expected = {name for name in inner(graph) if not reaches_output_without(graph, name)}
    assert found == expected
