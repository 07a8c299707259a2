"""A service that ends tells every frame what became of it, even one that its engine hangs on."""

import asyncio

import pytest
import tritonclient.grpc.aio as triton
from tests.cloud.device import GUARD_S, Head, connected
from tests.cloud.gated import GatedTail
from tests.cloud.oip.test_triton import asked
from tritonclient.utils import InferenceServerException

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService


async def test_frames_that_hang_end_in_errors_before_the_streams_do(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with (
        connected(gated_service.address) as device,
        triton.InferenceServerClient(gated_service.address) as client,
    ):
        await device.hello(bundle.fingerprint)
        for sequence in (1, 2):
            await device.send(frame=head.frame("cut-16", sequence))
        await gate.begun()
        item = asyncio.create_task(client.infer("tiny", asked(head.pictures[0])))
        await device.roundtrip()
        async with asyncio.timeout(GUARD_S):
            while gated_service.core.desk.waiting < 2:
                await device.roundtrip()
        draining = asyncio.create_task(gated_service.drain(0.5))
        assert (await device.receive()).HasField("drain")
        errors = [await device.error() for _ in range(2)]
        assert {error.sequence for error in errors} == {1, 2}
        assert {error.code for error in errors} == {pb.ERROR_CODE_OVERLOADED}
        with pytest.raises(InferenceServerException, match="the service ends"):
            await item
        await draining
