"""Videos over real gRPC: what a stream keeps, and that its frames run side by side."""

from tests.cloud.device import Head, connected
from tests.cloud.films import key_frame_needed
from tests.cloud.gated import GatedTail
from tests.cloud.serving import answering, listening

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService, ServiceConfig


async def test_tails_of_one_stream_run_side_by_side(
    bundle: Bundle, config: ServiceConfig, head: Head, gate: GatedTail
) -> None:
    with answering(bundle.manifest, {"input": gate, "cut": gate}, workers=2) as answerer:
        async with (
            listening(config, bundle, answerer) as service,
            connected(service.address) as device,
        ):
            await device.hello(bundle.fingerprint)
            for frame in head.film("cut-16", frames=4)[1:3]:
                await device.send(frame=frame)
            await gate.begun()
            await gate.begun()  # while the first still stands at the gate
            gate.let_pass(2)
            assert {(await device.result()).sequence, (await device.result()).sequence} == {2, 3}


async def test_a_frame_beyond_the_window_is_not_kept(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    film = head.film("cut-16", frames=8)
    async with connected(gated_service.address) as device:
        window = (await device.hello(bundle.fingerprint)).welcome.window
        for frame in film[: window + 1]:
            await device.send(frame=frame)
        error = await device.error()
        assert (error.sequence, error.code) == (window + 1, pb.ERROR_CODE_OVERLOADED)
        gate.open_for_good()
        assert {(await device.result()).sequence for _ in range(window)} == set(
            range(1, window + 1)
        )
        await key_frame_needed(device, film[window + 1])
        await device.send(frame=film[window])  # what it refers to is kept still
        assert (await device.result()).sequence == window + 1
