"""What comes from outside and is wrong, or fails inside, costs one frame, and nothing leaks."""

import logging

import pytest
from tests.cloud.device import Device, Head, Truth
from tests.cloud.far_gate import FarGate
from tests.cloud.films import check_right, is_right
from tests.cloud.promises.wrongs import WRONGS, Wrong

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb


@pytest.mark.parametrize("wrong", WRONGS, ids=str)
async def test_a_wrong_frame_is_refused_and_the_next_one_answered(
    device: Device, head: Head, bundle: Bundle, wrong: Wrong
) -> None:
    await device.send(frame=wrong.frame(head, sequence=5))
    error = await device.error()
    assert (error.sequence, error.code) == (5, wrong.code)
    assert all(word in error.message for word in wrong.words)
    assert len(error.message) < 500
    await check_right(device, head.frame("cut-16", sequence=99), Truth(bundle))


async def test_of_frames_that_run_together_only_the_one_that_fails_ends_in_an_error(
    device: Device, gate: FarGate, head: Head, bundle: Bundle
) -> None:
    await device.send(frame=head.frame("cut-16", 1))
    await gate.begun()
    for sequence in (2, 3, 4):
        frame = head.frame("input-raw", sequence, sequence)
        if sequence == 3:
            frame.payloads[0].data = bytes(len(frame.payloads[0].data))
        await device.send(frame=frame)
    await device.roundtrip()
    gate.open_for_good()
    messages = [await device.receive() for _ in range(4)]
    results = {each.result.sequence: each.result for each in messages if each.HasField("result")}
    assert sorted(results) == [1, 2, 4]
    assert all(is_right(results[sequence], head.unsplit(sequence)) for sequence in (2, 4))
    (error,) = (each.error for each in messages if each.HasField("error"))
    assert (error.sequence, error.code) == (3, pb.ERROR_CODE_INTERNAL)


async def test_a_failure_inside_is_logged_and_never_told(
    device: Device, gate: FarGate, head: Head, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for sequence in (1, 2):
            gate.fail()
            await device.send(frame=head.frame("cut-16", sequence))
            error = await device.error()
            assert (error.sequence, error.code) == (sequence, pb.ERROR_CODE_INTERNAL)
            assert error.message == "the service failed on this frame"
    assert "secret of the house" in caplog.text
