"""Bytes on a stream that are no message."""

import logging
from typing import Any

import grpc
import pytest
from tests.cloud.device import Device, Head
from tests.cloud.wire import begin, hello, wired

from isthmus import Bundle, WireError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService
from isthmus_cloud.sessions.sessions import Sessions


@pytest.mark.parametrize("greets", [False, True])
async def test_bytes_that_are_no_message_are_refused_and_end_only_their_session(
    service: RunningService,
    device: Device,
    head: Head,
    bundle: Bundle,
    caplog: pytest.LogCaptureFixture,
    greets: bool,
) -> None:
    with caplog.at_level(logging.INFO):
        async with grpc.aio.insecure_channel(service.address) as channel:
            call: Any = channel.stream_stream("/isthmus.v1.Split/Stream")()
            if greets:
                greeting = pb.EdgeMessage(hello=hello(bundle))
                greeting.hello.session_id = "of a stranger"
                await call.write(greeting.SerializeToString())
                await call.read()
            await call.write(b"\xff\xff\xff")
            error = pb.CloudMessage.FromString(await call.read()).error
            assert (error.sequence, error.code) == (0, pb.ERROR_CODE_PROTOCOL)
            assert "no message of this protocol" in error.message
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK
    await device.send(frame=head.frame("cut-16"))
    assert (await device.result()).sequence == 1
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert len(record.getMessage()) < 100


async def test_bytes_that_are_no_message_leave_no_session_to_resume(
    bundle: Bundle, sessions: Sessions, head: Head
) -> None:
    async with wired(sessions) as wire:
        await begin(wire, bundle, [head.frame("cut-16")])
        await wire.break_off(WireError("bytes came that are no message"))
        assert (await wire.error()).code == pb.ERROR_CODE_PROTOCOL
    assert sessions.count == 0
