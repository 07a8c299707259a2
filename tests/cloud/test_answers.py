"""Over real gRPC: heartbeats and the load while frames wait for their worker."""

from tests.cloud.device import Device, Head, connected
from tests.cloud.gated import GatedTail

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService

CANDIDATES = ["input-raw", "input-jpeg-q95", "cut-256", "cut-16"]


async def test_the_load_counts_the_frames_of_all_devices(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with connected(gated_service.address) as one, connected(gated_service.address) as two:
        await one.hello(bundle.fingerprint)
        await one.send(frame=head.frame("cut-16", 1))
        await gate.begun()
        for sequence in (2, 3):
            await one.send(frame=head.frame("cut-16", sequence))
        await one.roundtrip()
        welcome = (await two.hello(bundle.fingerprint)).welcome
        assert welcome.load.frames_waiting == 2


async def test_a_heartbeat_comes_back_without_its_padding(device: Device) -> None:
    heartbeats = [pb.Heartbeat(id=7, padding=b"x" * 1000), pb.Heartbeat(id=8)]
    for heartbeat in heartbeats:
        await device.send(heartbeat=heartbeat)
    first, second = (await device.receive()).heartbeat, (await device.receive()).heartbeat
    assert [first.id, second.id] == [7, 8]
    assert first.padding == b""
    assert 0 < first.received_ns <= second.received_ns


async def test_a_heartbeat_does_not_wait_for_frames(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with connected(gated_service.address) as device:
        await device.hello(bundle.fingerprint)
        await device.send(frame=head.frame("cut-256"))
        await gate.begun()
        await device.roundtrip()  # while the frame still stands at the gate
        gate.let_pass()
        assert (await device.result()).sequence == 1


async def test_frames_in_flight_are_answered_after_the_device_has_sent_its_last(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with connected(gated_service.address) as device:
        await device.hello(bundle.fingerprint)
        await device.send(frame=head.frame("cut-16", 1))
        await device.send(frame=head.frame("cut-16", 2))
        await device.half_close()
        gate.let_pass(2)
        assert {(await device.result()).sequence, (await device.result()).sequence} == {1, 2}
        await device.ended()
