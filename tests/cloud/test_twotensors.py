"""A cut with two tensors, one quantised and one not: from payloads to answers, and refusals."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from tests.cloud.device import Device, connected
from tests.cloud.serving import Answers, answering, listening
from tests.cloud.twotensors import MEANS, RUNGS, build_two_tensor_bundle, map_and_mask, means

from isthmus import Bundle, BundleError, FrameEncoder, decode_answer, open_bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import ServiceConfig, load_tails
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine


def encoded(bundle: Bundle, encoder: FrameEncoder, rung: int, seed: int) -> pb.Frame:
    candidate = bundle.manifest.candidate("half")
    cut = bundle.manifest.cut_of(candidate)
    return encoder.encode(candidate, cut, rung, map_and_mask(seed))


def tails_of(path: Path) -> AbstractContextManager[Answers]:
    bundle = open_bundle(path, "cloud")
    return answering(bundle.manifest, load_tails(bundle, OrtEngine(Cores(1)), 1, lambda _: None))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_two_tensor_bundle(tmp_path_factory.mktemp("two") / "two.bundle")


@pytest.fixture(scope="module")
def two(path: Path) -> Bundle:
    return open_bundle(path, "cloud")


@pytest.fixture
async def device(path: Path, two: Bundle) -> AsyncIterator[Device]:
    config = ServiceConfig(bundle=path)
    with tails_of(path) as answerer:
        async with (
            listening(config, two, answerer) as service,
            connected(service.address) as device,
        ):
            await device.hello(two.fingerprint)
            yield device


@pytest.mark.parametrize("rung", range(len(RUNGS)))
async def test_each_rung_reaches_the_tail_with_its_own_step_and_zero_point(
    device: Device, two: Bundle, rung: int
) -> None:
    for seed in range(3):
        frame = encoded(two, FrameEncoder(), rung, seed)
        frame.sequence = seed + 1
        await device.send(frame=frame)
        answer = decode_answer((await device.result()).outputs[0], MEANS)
        assert np.allclose(answer, means(*map_and_mask(seed), rung), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rung", [1, 2])
async def test_only_the_quantised_tensor_of_a_video_is_a_difference(
    device: Device, two: Bundle, rung: int
) -> None:
    """The mask comes whole with every frame, and the difference is that of this rung."""
    encoder = FrameEncoder(video=True)
    frames = [encoded(two, encoder, rung, seed=4) for _ in range(4)]
    assert [bool(frame.reference) for frame in frames] == [False, False, True, True]
    assert len(frames[3].payloads[0].data) < len(frames[1].payloads[0].data)
    for sequence, frame in enumerate(frames, 1):
        frame.sequence = sequence
        await device.send(frame=frame)
    for _ in frames:
        answer = decode_answer((await device.result()).outputs[0], MEANS)
        assert np.allclose(answer, means(*map_and_mask(4), rung), rtol=1e-5, atol=1e-6)


async def test_payloads_in_another_order_are_refused(device: Device, two: Bundle) -> None:
    right = encoded(two, FrameEncoder(), 1, seed=0)
    await device.send(
        frame=pb.Frame(sequence=1, candidate="half", rung=1, payloads=right.payloads[::-1])
    )
    error = await device.error()
    assert error.code == pb.ERROR_CODE_BAD_FRAME
    assert "'mask': payload of" in error.message


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_another_number_of_payloads_is_refused_with_the_right_one(
    device: Device, two: Bundle, count: int
) -> None:
    right = encoded(two, FrameEncoder(), 1, seed=0)
    payloads = [right.payloads[0]] * count
    await device.send(frame=pb.Frame(sequence=1, candidate="half", rung=1, payloads=payloads))
    error = await device.error()
    assert error.code == pb.ERROR_CODE_BAD_FRAME
    assert f"one payload for each of map, mask; the frame has {count}" in error.message


def test_a_tail_that_takes_another_type_is_refused_with_both(tmp_path: Path) -> None:
    path = build_two_tensor_bundle(tmp_path / "b", mask_type=TensorProto.UINT8)
    with pytest.raises(BundleError, match=r"mask is tensor\(uint8\), .* says tensor\(bool\);"):
        tails_of(path)
