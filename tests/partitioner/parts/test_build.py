"""What was proposed becomes files: a tail for each cut, a stage for each tensor that needs one."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.conftest import QUICK, ignore
from tests.partitioner.networks import Builder as Graph
from tests.partitioner.networks import layers_only
from tests.partitioner.workshop import branched_sets

from isthmus_partitioner import Network, Samples, SampleSets
from isthmus_partitioner.agreement.metrics import metric_for
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.parts.build import Builder, BuiltCut
from isthmus_partitioner.parts.chains import ChainPlan
from isthmus_partitioner.runtime import open_session, run_items

Read = Callable[[onnx.ModelProto], Network]


def builder(network: Network, sets: SampleSets, folder: Path) -> Builder:
    metric = metric_for("classify", network.outputs[-1:])
    return Builder(network, sets, metric, QUICK, folder, ignore)


def plan_of(
    network: Network, *places: Sequence[str], name: str = "fp32", is_second: bool = False
) -> ChainPlan:
    head = HeadGraph(network, network.model)
    found = [head.at(branched.cut_behind(network, *names)) for names in places]
    cuts = tuple(cut for cut in found if cut is not None)
    return ChainPlan(name, "fp32", head, cuts, is_second)


def fitted(
    building: Builder, plan: ChainPlan, wanted: Sequence[int] | None = None
) -> list[BuiltCut]:
    depths = range(1, len(plan.cuts) + 1) if wanted is None else wanted
    return list(building.fit(plan, building.chain(plan), depths))


def three_at_once() -> onnx.ModelProto:
    """`first` and `second` skip over `third` and `fourth`: two cuts of three tensors each."""
    build = Graph()
    first = build.op("Relu", [build.conv(build.picture(), "a", (3, 4), stride=4)], "first")
    second = build.op("Relu", [build.conv(first, "b", (4, 6))], "second")
    third = build.op("Relu", [build.conv(second, "c", (6, 8))], "third")
    fourth = build.op("Relu", [build.conv(third, "d", (8, 10))], "fourth")
    build.op("Concat", [first, second, fourth], "joined", axis=1)
    build.classes("joined", 20)
    return branched.model_of(build, ["picture"], branched.ANSWER)


@pytest.fixture
def u_net(read: Read) -> Network:
    return read(branched.u_net())


def test_the_whole_network_is_there_as_the_tail_of_the_input(
    u_net: Network, tmp_path: Path
) -> None:
    sets = branched_sets(u_net)
    builder(u_net, sets, tmp_path)
    tail = open_session(tmp_path / "cloud" / "whole-input.onnx", threads=1)
    feeds = list(sets.evaluation.feeds(u_net.inputs))
    whole = run_items(open_session(u_net.path, threads=1), feeds, u_net.outputs)
    assert np.allclose(run_items(tail, feeds, u_net.outputs)["answer"], whole["answer"], atol=1e-5)


def test_older_files_are_removed(u_net: Network, tmp_path: Path) -> None:
    for side in ("device", "cloud"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "older.onnx").write_bytes(b"older")
    builder(u_net, branched_sets(u_net), tmp_path)
    there = {path.name for path in tmp_path.glob("*/*.onnx")}
    assert there == {"whole-input.onnx"}


def test_a_cut_is_called_after_its_first_tensor_and_how_many_more_there_are(
    u_net: Network, tmp_path: Path
) -> None:
    building = builder(u_net, branched_sets(u_net), tmp_path)
    cuts = fitted(building, plan_of(u_net, ["wide"], ["deep"], ["deeper"], ["joined"]))
    assert [cut.id for cut in cuts] == ["wide", "wide-and-1-more", "wide-and-1-more-2", "joined"]
    assert [cut.depth for cut in cuts] == [1, 2, 3, 4]


def test_only_wanted_cuts_are_built(u_net: Network, tmp_path: Path) -> None:
    building = builder(u_net, branched_sets(u_net), tmp_path)
    (cut,) = fitted(building, plan_of(u_net, ["wide"], ["deep"], ["joined"]), [3])
    assert (cut.id, cut.depth) == ("joined", 3)
    tails = {path.name for path in (tmp_path / "cloud").iterdir()}
    assert tails == {"whole-input.onnx", "whole-joined.onnx"}


def test_a_second_chain_of_the_same_cuts_says_its_precision(u_net: Network, tmp_path: Path) -> None:
    building = builder(u_net, branched_sets(u_net), tmp_path)
    fitted(building, plan_of(u_net, ["wide"], ["joined"], name="one"))
    again = plan_of(u_net, ["wide"], ["joined"], name="two", is_second=True)
    assert [cut.id for cut in fitted(building, again)] == ["wide-fp32", "joined-fp32"]


def test_every_tensor_of_every_cut_has_a_stage_of_its_own(read: Read, tmp_path: Path) -> None:
    """Also where two cuts begin with the same tensor and are told apart by a number."""
    network = read(three_at_once())
    building = builder(network, branched_sets(network), tmp_path)
    cuts = fitted(building, plan_of(network, ["third"], ["fourth"]))
    assert [cut.id for cut in cuts] == ["first-and-2-more", "first-and-2-more-2"]
    tensors = [tensor for cut in cuts for tensor in cut.tensors]
    assert len(tensors) == 6
    assert all(tensor.stage is not None for tensor in tensors)


def test_names_become_file_names_that_differ_also_where_case_does_not_count(
    read: Read, tmp_path: Path
) -> None:
    network = read(layers_only())
    building = builder(network, _images(network), tmp_path)
    places = [[f"model/layer:{index}/Relu:0"] for index in (1, 2)]
    cuts = fitted(building, plan_of(network, *places))
    assert [cut.id for cut in cuts] == ["model-layer-1-Relu-0", "model-layer-2-Relu-0"]


def _images(network: Network) -> SampleSets:
    def part(count: int, seed: int) -> Samples:
        pictures = np.random.default_rng(seed).integers(0, 256, (count, *network.inputs[0].shape))
        return Samples({network.inputs[0].name: pictures.astype(np.uint8)}, (f"{seed}",) * count)

    return SampleSets(part(4, 1), part(2, 2), part(2, 3))


def test_ids_that_would_be_one_file_on_some_systems_get_a_number(
    read: Read, tmp_path: Path
) -> None:
    build = Graph()
    upper = build.op("Relu", [build.conv(build.picture(), "a", (3, 8), stride=4)], "Layer")
    lower = build.op("Relu", [build.conv(upper, "b", (8, 8))], "layer")
    local = build.op("Relu", [build.conv(lower, "c", (8, 8))], "local")
    build.classes(local, 8)
    network = read(branched.model_of(build, ["picture"], branched.ANSWER))
    building = builder(network, branched_sets(network), tmp_path)
    cuts = fitted(building, plan_of(network, ["Layer"], ["layer"], ["local"]))
    assert [cut.id for cut in cuts] == ["Layer", "layer-2", "local-2"]


def test_a_tensor_called_like_a_cut_of_several_gets_a_number(read: Read, tmp_path: Path) -> None:
    build = Graph()
    first = build.op("Relu", [build.conv(build.picture(), "a", (3, 4), stride=4)], "first")
    second = build.op("Relu", [build.conv(first, "b", (4, 6))], "second")
    build.op("Concat", [first, second], "first-and-1-more", axis=1)
    build.classes("first-and-1-more", 10)
    network = read(branched.model_of(build, ["picture"], branched.ANSWER))
    building = builder(network, branched_sets(network), tmp_path)
    cuts = fitted(building, plan_of(network, ["second"], ["first-and-1-more"]))
    assert [cut.id for cut in cuts] == ["first-and-1-more", "first-and-1-more-2"]


def test_exact_tensors_have_no_stage_and_cross_as_they_are(read: Read, tmp_path: Path) -> None:
    network = read(branched.masked())
    building = builder(network, branched_sets(network), tmp_path)
    (cut,) = fitted(building, plan_of(network, ["hidden", "is_there"]))
    mask, hidden = cut.tensors
    assert (mask.stage, mask.quantisation, mask.wire) == (None, None, mask.boundary)
    assert hidden.stage is not None
    assert cut.transforms[0] == "as it is"
