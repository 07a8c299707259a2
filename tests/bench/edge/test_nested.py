"""Cuts of the device's bench nest, and are spread over the work."""

from itertools import pairwise
from pathlib import Path

import pytest
from tests.partitioner.networks import residual, saved

from isthmus import ModelError
from isthmus_bench.edge.nested import nested_cuts, spread
from isthmus_partitioner import Network, load_model
from isthmus_partitioner.parts.boundary import HeadGraph


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder: Path = tmp_path_factory.mktemp("nested")
    return load_model(saved(residual(), folder / "residual.onnx"))


def test_each_cut_nests_in_the_next_and_holds_more_of_the_work(network: Network) -> None:
    cuts = nested_cuts(network, [HeadGraph(network, network.model)], 3)
    assert len(cuts) == 3
    assert all(one.nests_in(other) for one, other in pairwise(cuts))
    assert all(len(one.head) < len(other.head) for one, other in pairwise(cuts))
    assert len({cut.title for cut in cuts}) == 3


def test_a_cut_lies_where_a_layer_reads(network: Network) -> None:
    """Not between a layer and the activation that runtimes fuse into it."""
    (cut,) = nested_cuts(network, [HeadGraph(network, network.model)], 1)
    layers = [n for n, macs in zip(network.model.graph.node, network.macs, strict=True) if macs]
    read = {name for node in layers for name in node.input}
    assert {spec.name for spec in cut.tensors} <= read


def test_more_candidates_than_places_are_refused(network: Network) -> None:
    with pytest.raises(ModelError, match="99 are needed"):
        nested_cuts(network, [HeadGraph(network, network.model)], 99)


@pytest.mark.parametrize(("count", "places"), [(1, (3,)), (4, (1, 3, 4, 6)), (8, tuple(range(8)))])
def test_fewer_candidates_are_spread_over_the_same_places(
    count: int, places: tuple[int, ...]
) -> None:
    assert spread(count, 8) == places
