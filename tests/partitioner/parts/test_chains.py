"""Chains as files: written anew each time, and run with no more in hand than is still needed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.partitioner import branched

from isthmus import Chain, TensorSpec
from isthmus_partitioner import Network, Samples
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.parts.chains import ChainPlan, ChainRun, write_chain
from isthmus_partitioner.runtime import open_session, run_items

Read = Callable[[onnx.ModelProto], Network]


@pytest.fixture
def u_net(read: Read) -> Network:
    return read(branched.u_net())


def plan_of(network: Network, *places: Sequence[str]) -> ChainPlan:
    head = HeadGraph(network, network.model)
    found = [head.at(branched.cut_behind(network, *names)) for names in places]
    return ChainPlan("fp32", "fp32", head, tuple(cut for cut in found if cut is not None))


def written(network: Network, folder: Path, *places: Sequence[str]) -> Chain:
    (folder / "device").mkdir(exist_ok=True)
    return write_chain(network, plan_of(network, *places), folder)


def some(network: Network) -> Samples:
    return branched.items(network, 3, 5, "some")


def files(folder: Path) -> set[str]:
    """Of the device, but for the weights that lie beside their segments."""
    found = {path.relative_to(folder).as_posix() for path in (folder / "device").iterdir()}
    weights = {file for file in found if file.endswith(".data")}
    assert {file.removesuffix(".data") for file in weights} <= found
    return found - weights


def test_a_chain_has_one_file_for_each_segment(u_net: Network, tmp_path: Path) -> None:
    chain = written(u_net, tmp_path, ["wide"], ["deep"])
    assert [segment.file for segment in chain.segments] == [
        f"device/fp32-{index}.onnx" for index in range(3)
    ]
    assert files(tmp_path) == {segment.file for segment in chain.segments}


def test_a_chain_that_is_written_again_leaves_none_of_its_older_files(
    u_net: Network, tmp_path: Path
) -> None:
    written(u_net, tmp_path, ["wide"], ["deep"])
    (tmp_path / "device" / "fp32-2.onnx.data").write_bytes(b"weights")
    (tmp_path / "device" / "int8-2.onnx").write_bytes(b"another chain's")
    written(u_net, tmp_path, ["wide"])
    assert files(tmp_path) == {"device/fp32-0.onnx", "device/fp32-1.onnx", "device/int8-2.onnx"}


def test_items_go_through_a_chain_to_the_networks_answers(u_net: Network, tmp_path: Path) -> None:
    chain = written(u_net, tmp_path, ["wide"], ["deep"], ["deeper"])
    run = ChainRun(u_net, chain, tmp_path, some(u_net))
    assert run.answers() == {}
    run.advance_to(4)
    whole = open_session(u_net.path, threads=1)
    expected = run_items(whole, some(u_net).feeds(u_net.inputs), u_net.outputs)
    assert np.allclose(run.answers()["answer"], expected["answer"], atol=1e-5)


def test_a_tensor_is_held_until_its_last_reader_has_run(u_net: Network, tmp_path: Path) -> None:
    """`wide` is read by the fourth segment; the picture by the first alone."""
    chain = written(u_net, tmp_path, ["wide"], ["deep"], ["deeper"], ["joined"])
    run = ChainRun(u_net, chain, tmp_path, some(u_net))
    wide, picture = u_net.tensors["wide"], u_net.inputs[0]
    (before,) = run.stacked([picture])
    assert np.array_equal(before, some(u_net).arrays["picture"])
    run.advance_to(1)
    (first,) = run.stacked([wide])
    run.advance_to(3)
    assert np.array_equal(run.stacked([wide])[0], first)
    for spec, depth in ((picture, 3), (wide, 4)):
        run.advance_to(depth)
        with pytest.raises(KeyError):
            run.stacked([spec])


def test_tensors_are_given_item_by_item_as_the_graph_takes_them(read: Read, tmp_path: Path) -> None:
    network = read(branched.with_gain())
    chain = written(network, tmp_path, ["stem.relu"])
    run = ChainRun(network, chain, tmp_path, some(network))
    run.advance_to(1)
    specs: list[TensorSpec] = [network.tensors["gain.real"], network.tensors["stem.relu"]]
    items = run.items(specs)
    assert [[value.shape for value in item] for item in items] == [[(), (1, 8, 8, 8)]] * 3
    gains, stems = run.stacked(specs)
    assert (gains.shape, stems.shape) == ((3,), (3, 8, 8, 8))
    assert np.array_equal(gains, some(network).arrays["gain"])


def test_what_the_head_has_answered_is_known_before_the_end(read: Read, tmp_path: Path) -> None:
    network = read(branched.with_early_answer())
    chain = written(network, tmp_path, ["stem.relu"], ["stem.relu", "early"])
    run = ChainRun(network, chain, tmp_path, some(network))
    known = []
    for depth in range(4):
        run.advance_to(depth)
        known.append(set(run.answers()))
    assert known == [set(), set(), {"early"}, {"early", "answer"}]


def test_an_input_that_is_an_output_is_an_answer_from_the_beginning(
    read: Read, tmp_path: Path
) -> None:
    network = read(branched.passing_through())
    run = ChainRun(network, written(network, tmp_path, ["stem.relu"]), tmp_path, some(network))
    assert np.array_equal(run.answers()["hint"], some(network).arrays["hint"])
    run.advance_to(2)
    assert np.array_equal(run.answers()["hint"], some(network).arrays["hint"])
