"""Profiled times are charged to the nodes of the original network."""

import pytest

from isthmus_partitioner import Network
from isthmus_partitioner.profiles.anchors import Anchors


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
