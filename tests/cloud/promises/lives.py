"""Services that go, devices that come again, and versions that take turns."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import grpc
from tests.cloud.device import GUARD_S, Device, Head, Truth, connected
from tests.cloud.far_gate import FarGate
from tests.cloud.films import check_right
from tests.cloud.wire import WINDOW, until

from isthmus import Bundle, open_bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Core, RunningService, ServiceConfig
from isthmus_cloud import listening as listening_core
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.deployments.deployment import Loader, TailSource, deployed
from isthmus_cloud.deployments.deployments import Deployments


async def test_drain_finishes_what_is_in_flight_and_refuses_new_frames(
    service: RunningService, device: Device, gate: FarGate, head: Head
) -> None:
    for sequence in (1, 2):
        await device.send(frame=head.frame("cut-16", sequence))
    await device.roundtrip()
    draining = asyncio.create_task(service.drain(GUARD_S))
    assert (await device.receive()).drain.grace_ms == GUARD_S * 1000
    await device.send(frame=head.frame("cut-16", 3))
    error = await device.error()
    assert (error.sequence, error.code) == (3, pb.ERROR_CODE_DRAINING)
    gate.open_for_good()
    assert {(await device.result()).sequence for _ in range(2)} == {1, 2}
    assert await device.ended() is grpc.StatusCode.OK
    async with asyncio.timeout(GUARD_S):
        await draining


async def test_a_device_that_was_cut_off_gets_its_answers_and_nothing_is_run_twice(
    service: RunningService, device: Device, gate: FarGate, head: Head, bundle: Bundle
) -> None:
    for sequence in (1, 2):
        await device.send(frame=head.frame("cut-16", sequence))
        if sequence == 1:
            await gate.begun()
    await device.roundtrip()
    device.call.cancel()
    async with connected(service.address) as again:
        welcome = await again.hello(
            bundle.fingerprint, session_id=device.session_id, unanswered=[1, 2]
        )
        assert list(welcome.welcome.held) == [1, 2]
        gate.open_for_good()
        assert {(await again.result()).sequence for _ in range(2)} == {1, 2}
    assert gate.runs == [1, 1]


async def test_two_versions_answer_until_the_last_stream_of_the_old_one_has_gone(
    config: ServiceConfig, source: TailSource, tiny_bundle: Path, other_bundle: Path
) -> None:
    old, new = (open_bundle(path, "cloud") for path in (tiny_bundle, other_bundle))
    async with Core(config) as core:
        core.deployments = Deployments(retire_s=0.01)
        core.sessions._deployments = core.deployments
        core.deployments.moved = core.sessions._offer
        loader = Loader(desk=core.desk, tails_of=source, window=WINDOW)
        first = await loader.load(tiny_bundle, version="1")
        core.deployments.activate(first)
        async with (
            listening_core(config, core) as service,
            connected(service.address) as stays,
        ):
            assert (await stays.hello(old.fingerprint)).welcome.version == "1"
            await check_right(stays, Head(old).frame("cut-16", 1), Truth(old))
            core.deployments.activate(await loader.load(other_bundle, version="2"))
            update = (await stays.receive()).update
            assert (update.version, update.bundle_fingerprint) == ("2", new.fingerprint)
            async with connected(service.address) as moved:
                assert (await moved.hello(new.fingerprint)).welcome.version == "2"
                for sequence in (2, 3):
                    await check_right(stays, Head(old).frame("cut-16", sequence), Truth(old))
                    await check_right(moved, Head(new).frame("cut-16", sequence), Truth(new))
                await leave(stays, settled_through=3)
                await until(lambda: first not in core.deployments.all)
                await check_right(moved, Head(new).frame("cut-16", 4), Truth(new))
            async with connected(service.address) as late:
                error = (await late.hello(old.fingerprint)).error
                assert error.code == pb.ERROR_CODE_BUNDLE_MISMATCH


async def leave(device: Device, settled_through: int) -> None:
    """A device that has all its answers ends its stream, and waits for nothing."""
    await device.send(heartbeat=pb.Heartbeat(id=1, settled_through=settled_through))
    await device.receive()
    await device.half_close()
    await device.ended()


async def test_an_audited_frame_gets_its_verdict_after_its_answer(
    config: ServiceConfig, tails: Mapping[str, Tail], head: Head, bundle: Bundle
) -> None:
    frame = head.frame("cut-256")
    frame.audited = True
    async with Core(config) as core:
        core.deployments.activate(deployed(bundle, tails, core.desk, version="1"))
        async with listening_core(config, core) as service, connected(service.address) as device:
            await device.hello(bundle.fingerprint)
            await device.send(frame=frame)
            await device.send(audit=pb.Audit(sequence=1, input=head.frame("input-raw")))
            assert (await device.result()).sequence == 1
            message = await device.receive()
            assert message.WhichOneof("kind") == "verdict", message
            verdict = message.verdict
    assert (verdict.sequence, verdict.compared, verdict.agrees) == (1, True, True)
    assert 0 < verdict.divergence < 0.1  # 256 levels are nearly as good
