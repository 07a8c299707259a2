"""What comes from outside and is wrong: it is named, and it costs one stream or its frames."""

from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
from tests.cloud.device import Device, Head, connected
from tests.cloud.gated import GatedTail
from tests.cloud.serving import answering

from isthmus import Bundle, open_bundle
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService
from isthmus_cloud.answering.parts import Tail


async def _still_answers(device: Device, head: Head) -> None:
    await device.send(frame=head.frame("cut-16", sequence=99))
    assert (await device.result()).sequence == 99


async def test_a_frame_beyond_the_announced_size_ends_its_stream_only(
    service: RunningService, device: Device, head: Head, bundle: Bundle
) -> None:
    async with connected(service.address) as hostile:
        welcome = (await hostile.hello(bundle.fingerprint)).welcome
        frame = head.frame("cut-256")
        frame.payloads[0].data = bytes(welcome.max_frame_bytes)
        await hostile.send(frame=frame)
        error = await hostile.error()
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_PROTOCOL)
        assert f"take at most {welcome.max_frame_bytes}" in error.message
        assert await hostile.ended() is grpc.StatusCode.OK
    await _still_answers(device, head)


async def test_another_bundle_is_refused_with_both_fingerprints(
    service: RunningService, other_bundle: Path, bundle: Bundle
) -> None:
    other = open_bundle(other_bundle, "device")
    async with connected(service.address) as device:
        error = (await device.hello(other.fingerprint)).error
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_BUNDLE_MISMATCH)
        assert bundle.fingerprint[:12] in error.message
        assert other.fingerprint[:12] in error.message
        assert error.message.endswith("differ")  # how to mend it, the device knows
        assert await device.ended() is grpc.StatusCode.OK


OUT_OF_ORDER = {
    "a frame before Hello": pb.EdgeMessage(frame=pb.Frame(sequence=1)),
    "a heartbeat before Hello": pb.EdgeMessage(heartbeat=pb.Heartbeat(id=1)),
    "an empty message": pb.EdgeMessage(),
    "another protocol": pb.EdgeMessage(hello=pb.Hello(protocol=PROTOCOL + 1)),
}


async def test_a_device_of_another_protocol_hears_of_that_whatever_its_id(
    service: RunningService,
) -> None:
    async with connected(service.address) as device:
        await device.send(hello=pb.Hello(protocol=PROTOCOL + 1, session_id="x" * 65))
        assert "install the same version" in (await device.error()).message


@pytest.mark.parametrize("message", OUT_OF_ORDER.values(), ids=OUT_OF_ORDER.keys())
async def test_a_message_out_of_order_ends_the_stream(
    service: RunningService, message: pb.EdgeMessage
) -> None:
    async with connected(service.address) as device:
        await device.call.write(message)
        error = await device.error()
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_PROTOCOL)
        assert await device.ended() is grpc.StatusCode.OK


async def test_a_repeated_sequence_ends_the_stream_without_a_second_answer(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    """The frame in flight is given up; the device learns why from the last message."""
    async with connected(gated_service.address) as device:
        await device.hello(bundle.fingerprint)
        await device.send(frame=head.frame("cut-16", 1))
        await gate.begun()
        await device.send(frame=head.frame("cut-16", 1))
        assert (await device.error()).code == pb.ERROR_CODE_PROTOCOL
        await device.ended()


async def test_every_candidate_with_a_tail_is_ready(
    bundle: Bundle, tails: Mapping[str, Tail]
) -> None:
    with answering(bundle.manifest, tails) as answerer:
        assert answerer.candidates == ("input-raw", "input-jpeg-q95", "cut-256", "cut-16")
