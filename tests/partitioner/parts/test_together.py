"""Whether frames go through the cloud together is asked of real items, and what comes of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.conftest import ignore
from tests.partitioner.crossings import crossing, random_items
from tests.partitioner.graph.graphs import parsed, weights
from tests.partitioner.networks import saved
from tests.partitioner.parts.test_segments import PLACES

from isthmus_partitioner import Network, Samples, load_model
from isthmus_partitioner.parts.build import input_cut
from isthmus_partitioner.parts.cloud import CloudSide, write_cloud_side
from isthmus_partitioner.parts.tails import OpenTail, TailCut, write_tails
from isthmus_partitioner.parts.together import ITEMS, frames_of, some_items, why_apart
from isthmus_partitioner.runtime import open_session

Read = Callable[[onnx.ModelProto], Network]
Said = Callable[[str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cloud").mkdir()
    return tmp_path


def cuts_of(network: Network, *places: Sequence[str]) -> list[TailCut]:
    """The input and cuts behind these tensors."""
    inner = (
        crossing(network, branched.cut_behind(network, *names), f"at {names[0]}")
        for names in places
    )
    return [input_cut(network), *inner]


def cloud_side(
    network: Network, cuts: Sequence[TailCut], folder: Path, count: int = 4
) -> CloudSide:
    items = random_items(network, count)
    return side_of(network, cuts, items, folder)


def side_of(
    network: Network, cuts: Sequence[TailCut], items: Samples, folder: Path, said: Said = ignore
) -> CloudSide:
    frames = frames_of(network, cuts, some_items([items]))
    return write_cloud_side(network, cuts, frames, folder, said)


def sizes_of(folder: Path, cloud: CloudSide) -> set[int | str]:
    """All that graphs say of the sizes of what they read along the batch."""
    graphs = (onnx.load(folder / f).graph for files in cloud.files.values() for f in files)
    dims = (info.type.tensor_type.shape.dim[0] for graph in graphs for info in graph.input)
    return {dim.dim_param or dim.dim_value for dim in dims}


@pytest.mark.parametrize("name", PLACES)
def test_tails_of_all_kinds_take_frames_together(name: str, folder: Path) -> None:
    """Each with a step of its own."""
    build, places = PLACES[name]
    network = load_model(saved(build(), folder / "model.onnx"))
    items = branched.items(network, 5, 1, "some")
    cuts = cuts_of(network, *places)
    cloud = side_of(network, cuts, items, folder)
    assert (cloud.batched, cloud.unbatched) == (True, "")
    assert cloud.files.keys() == {cut.id for cut in cuts}


def test_what_has_no_batch_axis_has_to_be_the_same_for_frames_that_go_together(
    read: Read, folder: Path
) -> None:
    """Frames with other gains are not what is asked for: nobody joins them."""
    network = read(branched.with_gain())
    items = branched.items(network, 3, 1, "some")
    items.arrays["gain"][:] = [1, 2, 3]
    cuts = cuts_of(network, ["stem.relu"])
    assert side_of(network, cuts, items, folder).batched


def mixing() -> onnx.ModelProto:
    """Items beyond 1.5 change what the others of their batch are divided by."""
    return parsed(
        """g (float[N, 96] x) => (float[N, 8] y) {
            h = Relu (x)
            m = MatMul (h, w)
            most = ReduceMax <keepdims = 1> (m)
            least = Max (most, more)
            y = Div (m, least)
        }""",
        w=weights(96, 8),
        more=np.array(1.5, np.float32),
    )


def test_real_items_show_what_noise_did_not(read: Read, folder: Path) -> None:
    network = read(mixing())
    assert network.batches, "the made-up items are too small"
    told: list[str] = []
    items = random_items(network, 4)
    cloud = side_of(network, cuts_of(network, ["h"]), items, folder, told.append)
    assert not cloud.batched
    assert cloud.unbatched.startswith(f"{ITEMS} frames of cut input together: output 'y' is off by")
    assert cloud.unbatched in told[-1]
    assert sizes_of(folder, cloud) == {1}


def test_a_network_that_does_not_batch_says_why_and_its_graphs_take_one_item(
    read: Read, folder: Path
) -> None:
    network = read(
        parsed(
            """g (float[N, 96] x) => (float[N, 96] y) {
                h = Relu (x)
                most = ReduceMax <keepdims = 1> (h)
                y = Div (h, most)
            }"""
        )
    )
    cloud = cloud_side(network, cuts_of(network, ["h"]), folder)
    assert cloud.unbatched == network.why_single
    assert "output 'y' of two items differs from theirs alone" in cloud.unbatched
    assert sizes_of(folder, cloud) == {1}


def test_a_batch_that_the_runtime_refuses_is_a_reason(network: Network, folder: Path) -> None:
    """Parts that say of their inputs that there is one item."""
    cuts = [input_cut(network)]
    files = write_tails(replace(network, batches=False), cuts, folder)["input"]
    tail = OpenTail(files, {file: open_session(folder / file, threads=1) for file in files})
    frames = frames_of(network, cuts, branched.items(network, ITEMS, 1, "some"))
    assert "picture" in why_apart(network, cuts, {"input": tail}, frames)


def test_frames_with_the_batch_folded_into_a_tensor_are_not_joined_there(
    read: Read, folder: Path
) -> None:
    """Those of the input are, for no part ends where the batch is folded."""
    network = read(
        parsed(
            """g (float[N, 4, 32] x) => (float[N, 4, 32] y) {
                f = Reshape (x, flat)
                m = MatMul (f, w)
                r = Relu (m)
                b = Reshape (r, back)
                y = Softmax (b)
            }""",
            flat=np.array([-1, 32]),
            back=np.array([-1, 4, 32]),
            w=weights(32, 32),
        )
    )
    cuts = cuts_of(network, ["r"], ["b"])
    cloud = cloud_side(network, cuts, folder)
    assert cloud.batched
    assert cloud.files["input"] == ("cloud/tail-0.onnx", "cloud/tail-2.onnx")
    assert cloud.files["at r"] == (
        "cloud/entry-at r.onnx",
        "cloud/tail-1.onnx",
        "cloud/tail-2.onnx",
    )


def test_a_batch_may_lie_along_another_axis(read: Read, folder: Path) -> None:
    """Steps are then along that axis, too."""
    network = read(
        parsed(
            """g (float[N, 8, 16] x) => (float[8, N, 16] y) {
                h = Relu (x)
                t = Transpose <perm = [1, 0, 2]> (h)
                r = Relu (t)
                y = MatMul (r, w)
            }""",
            w=weights(16, 16),
        )
    )
    cuts = cuts_of(network, ["t"])
    assert [tensor.wire.batch_axis for tensor in cuts[1].tensors] == [1]
    assert cloud_side(network, cuts, folder).batched


def test_items_are_of_as_many_sources_as_there_are() -> None:
    arrays = {"x": np.arange(6, dtype=np.float32)}
    many = Samples(arrays, ("a", "a", "a", "b", "b", "c"))
    assert some_items([many]).sources == ("a", "b", "c")
    assert some_items([many[[0, 1]], many[[5]]]).sources == ("a", "a", "c")
    (only,) = some_items([many[[3]]]).arrays.values()
    assert only.tolist() == [3, 3, 3]
