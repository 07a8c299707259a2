"""A chain in its TFLite form: every segment of it, compared on real items, or none."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.networks import Builder, saved
from tests.partitioner.parts.test_chains import files, some, written

from isthmus import Chain, RuntimeName
from isthmus_partitioner import Network, load_model
from isthmus_partitioner.parts.twins import with_twins
from isthmus_partitioner.profiles import twins
from isthmus_partitioner.tflite import NotLoweredError

Read = Callable[[onnx.ModelProto], Network]


@pytest.fixture
def u_net(read: Read) -> Network:
    return read(branched.u_net())


@pytest.fixture
def odd(tmp_path: Path) -> Network:
    """Its last part has an op that TFLite does not cover."""
    build = Builder()
    first = build.op("Relu", [build.conv(build.picture(), "a", (3, 8), stride=4)], "first")
    build.op("Mish", [build.conv(first, "b", (8, 8))], "odd")
    build.classes("odd", 8)
    return load_model(saved(build.model(opset=18), tmp_path / "odd.onnx"))


def twinned(
    network: Network, chain: Chain, folder: Path, runtime: RuntimeName = "litert"
) -> tuple[Chain, tuple[str, ...]]:
    return with_twins(network, chain, runtime, folder, some(network))


@pytest.mark.parametrize("runtime", ["litert", "tflite-runtime", "onnxruntime"])
def test_every_segment_has_a_twin_beside_it_whatever_the_device_runs(
    u_net: Network, tmp_path: Path, runtime: RuntimeName
) -> None:
    """Another device may have another runtime."""
    chain = written(u_net, tmp_path, ["wide"], ["deep"])
    made, notes = twinned(u_net, chain, tmp_path, runtime)
    assert (made.runtime, notes) == (runtime, ())
    names = [segment.tflite.file for segment in made.segments if segment.tflite is not None]
    assert names == [f"device/fp32-{index}.tflite" for index in range(3)]
    assert files(tmp_path) == {*names, *(segment.file for segment in chain.segments)}


def test_one_segment_that_is_not_covered_leaves_its_chain_onnx_and_names_the_op(
    odd: Network, tmp_path: Path
) -> None:
    chain = written(odd, tmp_path, ["first"])
    made, notes = twinned(odd, chain, tmp_path)
    assert made == chain
    (note,) = notes
    assert note.startswith("device/fp32-1.onnx has no TFLite form: ")
    assert "Mish" in note
    assert files(tmp_path) == {segment.file for segment in chain.segments}


def test_a_twin_that_answers_otherwise_on_real_items_is_not_used(
    u_net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = written(u_net, tmp_path, ["wide"])
    seen: list[int] = []

    def judged(lowered: object, model: onnx.ModelProto, feeds: list[object]) -> None:
        seen.append(len(feeds))
        if len(seen) == 2:
            raise NotLoweredError("the lowered graph answers otherwise")

    monkeypatch.setattr(twins, "require_alike", judged)
    made, notes = twinned(u_net, chain, tmp_path)
    assert seen == [3, 3]
    assert made.runtime == "onnxruntime"
    assert notes == ("device/fp32-1.onnx has no TFLite form: the lowered graph answers otherwise",)


def test_fewer_items_than_are_compared_will_do(u_net: Network, tmp_path: Path) -> None:
    chain = written(u_net, tmp_path, ["wide"])
    made, notes = with_twins(u_net, chain, "litert", tmp_path, some(u_net)[:1])
    assert (made.runtime, notes) == ("litert", ())
