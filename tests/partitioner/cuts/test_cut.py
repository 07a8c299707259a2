"""A cut is a set of tensors, and cuts that nest share a chain."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.partitioner import branched
from tests.partitioner.networks import WIDE, Builder, two_branches

from isthmus_partitioner import Network
from isthmus_partitioner.cuts.cut import NetworkCut, cut_before, nested_families

Read = Callable[[onnx.ModelProto], Network]


def crossing(cut: NetworkCut) -> list[str]:
    return [spec.name for spec in cut.tensors]


def test_a_tensor_crosses_once_however_many_read_it(read: Read) -> None:
    cut = branched.cut_behind(read(two_branches()), "stem.relu")
    assert crossing(cut) == ["stem.relu"]


def test_a_skip_connection_crosses_beside_what_it_skips(network: Network) -> None:
    cut = branched.cut_behind(network, "inner.relu")
    assert crossing(cut) == ["stem.relu", "inner.relu"]
    assert cut.title == "stem.relu + inner.relu"


def test_tensors_have_the_networks_types_and_shapes(network: Network) -> None:
    cut = branched.cut_behind(network, "inner.relu")
    assert cut.tensors == tuple(network.tensors[name] for name in crossing(cut))


def test_before_the_first_node_the_inputs_cross(read: Read) -> None:
    network = read(branched.with_gain())
    cut = cut_before(network, frozenset())
    assert (cut.tensors, cut.answers, cut.macs_share) == (network.inputs, (), 0.0)


def test_behind_the_last_node_nothing_crosses(network: Network) -> None:
    cut = cut_before(network, frozenset(range(len(network.model.graph.node))))
    assert (cut.tensors, cut.answers, cut.macs_share) == ((), ("answer",), 1.0)


def test_an_input_that_is_read_behind_the_cut_crosses(read: Read) -> None:
    cut = branched.cut_behind(read(branched.passing_through()), "stem.relu")
    assert crossing(cut) == ["hint", "stem.relu"]


def test_an_output_in_the_head_is_its_answer_and_does_not_cross_for_that(read: Read) -> None:
    network = read(branched.with_early_answer())
    cut = branched.cut_behind(network, "early", "last.relu")
    assert (crossing(cut), cut.answers) == (["last.relu"], ("early",))


def test_an_output_that_is_read_on_is_an_answer_and_crosses(read: Read) -> None:
    cut = branched.cut_behind(read(branched.with_output_inside()), "stem.relu")
    assert (crossing(cut), cut.answers) == (["stem.relu"], ("stem.relu",))


def test_constants_are_on_both_sides(read: Read) -> None:
    """The table of `masked` is a constant: what the head reads of it does not cross."""
    cut = branched.cut_behind(read(branched.masked()), "vectors")
    assert crossing(cut) == ["ids", "vectors"]


def test_depth_is_counted_in_multiply_accumulates(network: Network) -> None:
    stem, inner, outer = 8 * 8 * 8 * 27, 8 * 8 * WIDE * 72, 8 * 8 * 8 * 9 * WIDE
    total = stem + inner + outer + 4 * 4 * 12 * 72 + 12 * 5
    shares = {n: branched.cut_behind(network, n).macs_share for n in ("stem.relu", "sum")}
    assert shares == {"stem.relu": stem / total, "sum": (stem + inner + outer) / total}


def test_a_tensor_that_a_subgraph_reads_from_outside_crosses(read: Read) -> None:
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
    network = read(build.model())
    cut = branched.cut_behind(network, "is_bright")
    assert crossing(cut) == ["stem.relu", "middle.relu", "is_bright"]


def cut_of(*head: int) -> NetworkCut:
    return NetworkCut(frozenset(head), (), (), 0.0)


def families(*cuts: NetworkCut) -> list[list[list[int]]]:
    return [[sorted(cut.head) for cut in family] for family in nested_families(cuts)]


def test_cuts_that_nest_are_one_family_in_order() -> None:
    assert families(cut_of(0, 1, 2), cut_of(0), cut_of(0, 1)) == [[[0], [0, 1], [0, 1, 2]]]


def test_cuts_that_do_not_nest_are_families_of_their_own() -> None:
    """Left and right branch behind a common stem; what holds both joins the first family."""
    stem, left, right, both = cut_of(0), cut_of(0, 1), cut_of(0, 2), cut_of(0, 1, 2)
    assert families(stem, left, right, both) == [[[0], [0, 1], [0, 1, 2]], [[0, 2]]]


def test_no_cuts_are_no_family() -> None:
    assert families() == []


@given(st.lists(st.frozensets(st.integers(0, 5)), max_size=8))
def test_families_hold_every_cut_once_and_each_nests_in_the_next(
    heads: list[frozenset[int]],
) -> None:
    cuts = [NetworkCut(head, (), (), 0.0) for head in heads]
    found = list(nested_families(cuts))
    assert sorted(sorted(c.head) for f in found for c in f) == sorted(map(sorted, heads))
    for family in found:
        assert all(one.nests_in(other) for one, other in pairwise(family))
