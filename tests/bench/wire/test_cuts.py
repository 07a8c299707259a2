from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from tests.bench.wire import tiny

from isthmus.errors import ModelError
from isthmus_bench.wire.cuts import CutNetwork
from isthmus_partitioner.runtime import AnyArray

FloatArray = NDArray[np.float32]


@pytest.fixture(scope="module")
def network() -> CutNetwork:
    return CutNetwork(tiny.network())


def names(infos: Iterable[onnx.ValueInfoProto]) -> list[str]:
    return [info.name for info in infos]


def test_a_cut_knows_its_shapes_and_the_work_before_it(network: CutNetwork) -> None:
    both = network.place("branches", ("left", "right"))
    total = 2 * tiny.BRANCH_MACS + tiny.CLASS_MACS
    assert both.shapes == ((4, 8, 8), (4, 8, 8))
    assert both.mac_share == pytest.approx(2 * tiny.BRANCH_MACS / total)
    assert network.place("input", ("planes",)).mac_share == 0


@pytest.mark.parametrize("tensors", [("left", "right"), ("right", "left"), ("sum",), ("planes",)])
def test_head_and_tail_together_are_the_network(
    network: CutNetwork, tensors: tuple[str, ...]
) -> None:
    place = network.place("here", tensors)
    head, tail = network.head(place), network.tail(place)
    for part in (head, tail):
        onnx.checker.check_model(part, full_check=True)
    assert names(head.graph.output) == names(tail.graph.input) == list(tensors)
    picture = tiny.pictures("evaluation", 3)
    crossed = run(head, {"picture": picture})
    (answer,) = run(tail, dict(zip(tensors, crossed, strict=True)))
    (expected,) = run(network.model, {"picture": picture})
    np.testing.assert_allclose(answer, expected, rtol=1e-5)


def test_a_path_around_the_cut_is_named(network: CutNetwork) -> None:
    with pytest.raises(ModelError, match=r"'half': there is a path from input 'picture'.*left"):
        network.place("half", ("left",))


def test_a_tensor_that_nothing_reads_is_named(network: CutNetwork) -> None:
    with pytest.raises(ModelError, match="'more': nothing behind it reads 'left'; leave it out"):
        network.place("more", ("sum", "left"))


@pytest.mark.parametrize("tensor", ["nowhere", "picture"])
def test_a_tensor_that_is_no_float_of_the_network_is_named(
    network: CutNetwork, tensor: str
) -> None:
    with pytest.raises(ModelError, match=f"'cut': the network has no float tensor '{tensor}'"):
        network.place("cut", (tensor,))


def run(model: onnx.ModelProto, feeds: dict[str, AnyArray]) -> list[FloatArray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(result, np.float32) for result in session.run(None, feeds)]
