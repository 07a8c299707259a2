"""What a device expects for the frames of a video, or for any others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.cloud.device import Device, Truth
from tests.tinybundle import PROBABILITIES

from isthmus import decode_answer
from isthmus.v1 import split_pb2 as pb

__all__ = ["check_result", "check_right", "is_right", "key_frame_needed"]


def is_right(result: pb.Result, expected: NDArray[Any]) -> bool:
    """Whether these are its probabilities."""
    answer = decode_answer(result.outputs[0], PROBABILITIES)
    return np.allclose(answer, expected, rtol=1e-5, atol=1e-7)


async def check_result(device: Device, expected: Mapping[int, NDArray[Any]]) -> int:
    """The next message is the right answer to one of the frames; its sequence."""
    result = await device.result()
    assert is_right(result, expected[result.sequence]), result.sequence
    return result.sequence


async def check_right(device: Device, frame: pb.Frame, truth: Truth) -> None:
    """The frame is answered, and rightly."""
    await device.send(frame=frame)
    await check_result(device, {frame.sequence: truth.of(frame)})


async def key_frame_needed(device: Device, frame: pb.Frame) -> None:
    """The frame is refused for want of its reference."""
    await device.send(frame=frame)
    error = await device.error()
    assert (error.sequence, error.code) == (frame.sequence, pb.ERROR_CODE_KEY_FRAME_NEEDED)
    assert f"marked {frame.reference}" in error.message
    assert "send it again as a key frame" in error.message
