"""A chain holds integers where all that comes later reads integers, and floats where not."""

from collections.abc import Callable

import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.conftest import ignore
from tests.partitioner.networks import saved

from isthmus_partitioner import Network, SampleSets, load_model
from isthmus_partitioner.parts.boundary import Boundary, ChainCut, HeadGraph
from isthmus_partitioner.parts.values import activations
from isthmus_partitioner.precision.bases import Base, quantised_bases
from isthmus_partitioner.precision.search import Precision

Read = Callable[[onnx.ModelProto], Network]


@pytest.fixture(scope="module")
def u_net(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return load_model(saved(branched.u_net(), tmp_path_factory.mktemp("u_net") / "model.onnx"))


@pytest.fixture(scope="module")
def base(u_net: Network) -> Base:
    return quantised_bases(u_net, branched.items(u_net, 4, 1, "one"), ignore)[0]


def nodes(network: Network, *names: str) -> frozenset[int]:
    return frozenset(i for i, n in enumerate(network.model.graph.node) if n.name in names)


def held(head: HeadGraph, network: Network, *tensors: str) -> dict[str, Boundary]:
    """What the chain holds at the cut behind these tensors, by the network's names."""
    found = head.at(branched.cut_behind(network, *tensors))
    assert found is not None
    return {boundary.tensor.name: boundary for boundary in found.boundaries}


def test_an_fp32_chain_holds_the_networks_own_tensors(u_net: Network) -> None:
    head = HeadGraph(u_net, u_net.model)
    for name, boundary in held(head, u_net, "deep").items():
        assert boundary.spec == u_net.tensors[name]
        assert boundary.quantisation is None
        assert boundary.is_quantised


def test_where_all_later_readers_quantise_an_int8_chain_holds_uint8(
    u_net: Network, base: Base
) -> None:
    found = held(HeadGraph(u_net, base.mix()), u_net, "deep")
    assert found.keys() == {"wide", "deep"}
    for name, boundary in found.items():
        assert boundary.spec.data_type == "uint8"
        assert boundary.spec.shape == u_net.tensors[name].shape
        assert boundary.name != name
        assert boundary.quantisation is not None
        assert boundary.quantisation.scale > 0


def test_where_one_later_reader_takes_floats_the_chain_holds_floats(
    u_net: Network, base: Base
) -> None:
    """The way down is fp32, and one reader of `wide`; behind `deep` that one has run already."""
    mixed = base.mix(nodes(u_net, "first", "wide", "second", "deep"))
    head = HeadGraph(u_net, mixed)
    (early,) = held(head, u_net, "wide").values()
    assert (early.spec.data_type, early.name) == ("float32", "wide")
    assert held(head, u_net, "deep")["wide"].spec.data_type == "uint8"


def test_few_numbers_are_not_worth_a_quantiser(u_net: Network, base: Base) -> None:
    """12 features; the layer behind them reads them as integers all the same."""
    (features,) = held(HeadGraph(u_net, base.mix()), u_net, "features").values()
    assert (features.name, features.quantisation) == ("features", None)
    assert not features.is_quantised


@pytest.mark.parametrize(("count", "is_quantised"), [(63, False), (64, True)])
def test_symbols_begin_at_64_floats(u_net: Network, count: int, is_quantised: bool) -> None:
    spec = u_net.tensors["wide"]
    few = type(spec)(name="few", data_type="float32", shape=(count,))
    assert Boundary(few, "few", None).is_quantised == is_quantised
    ids = type(spec)(name="ids", data_type="int64", shape=(count,))
    assert not Boundary(ids, "ids", None).is_quantised


def test_ids_and_masks_are_held_as_they_are(read: Read) -> None:
    network = read(branched.masked())
    base = quantised_bases(network, branched.items(network, 4, 1, "one"), ignore)[0]
    found = held(HeadGraph(network, base.mix()), network, "hidden", "is_there")
    assert found["is_there"].spec == network.tensors["is_there"]
    assert not found["is_there"].is_quantised
    assert found["hidden"].spec.data_type == "uint8"


def test_a_tensor_that_the_head_lacks_makes_no_cut(network: Network, quantised: Precision) -> None:
    """A quantised layer and its activation are one: there is nothing between the two."""
    assert quantised.int8 is not None
    cut = branched.cut_behind(network, "stem")
    assert HeadGraph(network, quantised.int8).at(cut) is None
    assert isinstance(HeadGraph(network, network.model).at(cut), ChainCut)


def test_a_boundary_says_what_its_integers_stand_for(
    network: Network, quantised: Precision, sets: SampleSets
) -> None:
    """Behind a ReLU zero is the lowest integer, and the highest is the largest value seen."""
    assert quantised.int8 is not None
    (boundary,) = held(HeadGraph(network, quantised.int8), network, "stem.relu").values()
    values = activations(network, [boundary.tensor], sets.fitted)["stem.relu"]
    assert boundary.quantisation is not None
    assert boundary.quantisation.zero_point == 0
    assert boundary.quantisation.scale == pytest.approx(float(values.max()) / 255, rel=0.01)
