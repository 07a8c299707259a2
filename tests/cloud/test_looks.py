"""A device that only looks is told the load, and leaves nothing behind."""

import grpc
from tests.cloud.device import Device, Head, connected
from tests.cloud.wire import hello, wired

from isthmus import Bundle
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService
from isthmus_cloud.sessions.sessions import Sessions


async def looked(device: Device, fingerprint: str, protocol: int = PROTOCOL) -> pb.CloudMessage:
    hello = pb.Hello(
        protocol=protocol, session_id="a look", bundle_fingerprint=fingerprint, look=True
    )
    await device.send(hello=hello)
    return await device.receive()


async def load_told(device: Device) -> pb.Load:
    """With the echo of a heartbeat."""
    await device.send(heartbeat=pb.Heartbeat(id=1))
    message = await device.receive()
    assert message.WhichOneof("kind") == "heartbeat"
    return message.heartbeat.load


async def test_who_comes_hears_how_many_there_are_and_is_one_of_them(
    service: RunningService, bundle: Bundle
) -> None:
    async with connected(service.address) as one, connected(service.address) as two:
        told = [(await each.hello(bundle.fingerprint)).welcome.load.streams for each in (one, two)]
        assert told == [1, 2]
        assert (await load_told(one)).streams == 2
        await two.half_close()
        assert await two.ended() is grpc.StatusCode.OK
        assert (await load_told(one)).streams == 1


async def test_every_result_tells_it_too(device: Device, head: Head) -> None:
    await device.send(frame=head.frame("cut-256"))
    assert (await device.result()).load.streams == 1


async def test_who_looks_counts_itself_for_itself_and_for_nobody_else(
    service: RunningService, device: Device, bundle: Bundle
) -> None:
    async with connected(service.address) as other:
        message = await looked(other, bundle.fingerprint)
        assert message.welcome.load.streams == 2
        assert await other.ended() is grpc.StatusCode.OK  # the service waits for no more
    assert (await load_told(device)).streams == 1


async def test_a_look_begins_no_session_and_its_stream_ends_though_the_device_says_no_goodbye(
    sessions: Sessions, bundle: Bundle
) -> None:
    async with wired(sessions) as wire:
        said = hello(bundle)
        said.look = True
        wire.say(hello=said)
        assert (await wire.receive()).welcome.load.streams == 1
        await wire.ended()
    assert (sessions.count, sessions.streams) == (0, 0)


async def test_who_holds_another_bundle_or_speaks_another_protocol_is_told_as_ever(
    service: RunningService, bundle: Bundle
) -> None:
    async with connected(service.address) as device:
        message = await looked(device, "f" * 64)
        assert message.error.code == pb.ERROR_CODE_BUNDLE_MISMATCH
    async with connected(service.address) as device:
        message = await looked(device, bundle.fingerprint, PROTOCOL + 1)
        assert message.error.code == pb.ERROR_CODE_PROTOCOL
