"""Profiled times are charged to the nodes of the original network."""

import pytest
from tests.partitioner.conftest import ignore

from isthmus import describe_machine
from isthmus_partitioner import Network, PictureSets, Profile, Quantised, profile
from isthmus_partitioner.profiles.layers import Anchors


@pytest.fixture(scope="module")
def profiled(network: Network, quantised: Quantised, sets: PictureSets) -> Profile:
    return profile(network, quantised, sets, ignore)


def test_every_node_of_the_network_has_a_row(network: Network, profiled: Profile) -> None:
    assert [row.name for row in profiled.nodes] == [node.name for node in network.model.graph.node]


def test_every_layer_takes_time_in_both_precisions(profiled: Profile) -> None:
    layers = [row for row in profiled.nodes if row.macs]
    assert [row.op for row in layers] == ["Conv", "Conv", "Conv", "Conv", "Gemm"]
    assert all(row.fp32_ms > 0 and row.int8_ms for row in layers)


def test_node_times_add_up_to_the_network_that_was_timed_as_a_whole(profiled: Profile) -> None:
    assert sum(row.fp32_ms for row in profiled.nodes) == pytest.approx(profiled.fp32_ms)
    assert sum(row.int8_ms or 0 for row in profiled.nodes) == pytest.approx(profiled.int8_ms)


def test_heads_grow_and_tails_shrink_along_the_network(network: Network, profiled: Profile) -> None:
    assert [row.tensor for row in profiled.cuts] == [cut.tensor for cut in network.cuts]
    heads = [row.head_ms for row in profiled.cuts]
    tails = [row.tail_ms for row in profiled.cuts]
    assert heads == sorted(heads)
    assert tails == sorted(tails, reverse=True)
    assert heads[-1] <= profiled.head_ms


def test_the_profile_says_where_it_was_measured(profiled: Profile) -> None:
    assert profiled.machine == describe_machine()


@pytest.mark.parametrize(
    ("event", "op", "node"),
    [
        ("stem", "Conv", "stem"),
        ("stem.relu_nchwc", "Conv", "stem"),
        ("outer_token_12", "QLinearConv", "outer"),
        ("sum_nchwc", "Conv", "outer"),
        ("sum", "Add", "sum"),
        ("last.relu_QuantizeLinear", "QuantizeLinear", "last.relu"),
        ("sum_DequantizeLinear/duplicated", "DequantizeLinear", "sum"),
        ("fc_MatMul", "Gemm", None),
        ("ReorderOutput", "ReorderOutput", None),
    ],
)
def test_names_of_the_runtime_lead_back_to_the_network(
    network: Network, event: str, op: str, node: str | None
) -> None:
    index = Anchors(network.model.graph).find(event, op)
    assert (None if index is None else network.model.graph.node[index].name) == node
