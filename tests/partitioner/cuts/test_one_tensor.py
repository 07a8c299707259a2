"""One-tensor cuts: exactly the tensors that every path goes through."""

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.partitioner.networks import WIDE, Builder, two_branches

from isthmus_partitioner import Network
from isthmus_partitioner.cuts.one_tensor import find_cuts

Read = Callable[[onnx.ModelProto], Network]


def test_no_cut_lies_beside_a_skip_connection(network: Network) -> None:
    assert {"inner.relu", "outer"}.isdisjoint(cut.tensor for cut in network.cuts)


def test_no_cut_lies_inside_parallel_branches(read: Read) -> None:
    tensors = [cut.tensor for cut in read(two_branches()).cuts]
    assert tensors == ["stem.relu", "joined", "last.relu", "pool", "features"]


def test_no_cut_lies_between_a_layer_and_its_activation(network: Network) -> None:
    assert "stem" not in {cut.tensor for cut in network.cuts}


def test_no_cut_lies_before_the_first_layer(network: Network) -> None:
    assert {"real", "scaled", "planes"}.isdisjoint(cut.tensor for cut in network.cuts)


def test_depth_is_counted_in_multiply_accumulates(network: Network) -> None:
    stem, inner, outer = 8 * 8 * 8 * 27, 8 * 8 * WIDE * 72, 8 * 8 * 8 * 9 * WIDE
    last, classes = 4 * 4 * 12 * 72, 12 * 5
    total = stem + inner + outer + last + classes
    shares = {cut.tensor: cut.macs_share for cut in network.cuts}
    assert shares["stem.relu"] == stem / total
    assert shares["sum"] == (stem + inner + outer) / total
    assert shares["features"] == (total - classes) / total
    assert {cut.tensor: cut.layers for cut in network.cuts}["sum"] == 3


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
    tensors = [cut.tensor for cut in read(build.model()).cuts]
    assert "stem.relu" in tensors
    assert {"middle.relu", "picked"}.isdisjoint(tensors)


@st.composite
def graphs(draw: st.DrawFn) -> onnx.GraphProto:
    """Random networks of nodes with one or two inputs, in topological order."""
    names = ["input"]
    nodes = []
    for index in range(draw(st.integers(2, 12))):
        sources = draw(st.lists(st.sampled_from(names[-4:]), min_size=1, max_size=2, unique=True))
        nodes.append(helper.make_node("Mix", sources, [f"t{index}"], name=f"n{index}"))
        names.append(f"t{index}")
    value = helper.make_tensor_value_info
    return helper.make_graph(
        nodes,
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


def useful(graph: onnx.GraphProto) -> set[str]:
    """Tensors that the output depends on."""
    wanted = {graph.output[0].name}
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
    return wanted


def inner(graph: onnx.GraphProto) -> Iterable[str]:
    """All tensors behind which something is still to be computed."""
    return [node.output[0] for node in graph.node][:-1]


@given(graphs())
def test_a_cut_is_a_tensor_without_which_the_output_cannot_be_reached(
    graph: onnx.GraphProto,
) -> None:
    shapes = {name: (4,) for node in graph.node for name in node.output}
    found = {cut.tensor for cut in find_cuts(graph, shapes, [1] * len(graph.node))}
    expected = {
        name
        for name in inner(graph)
        if name in useful(graph) and not reaches_output_without(graph, name)
    }
    assert found == expected
