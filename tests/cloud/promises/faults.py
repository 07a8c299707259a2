"""Replicas that are killed, all of them, and the controller of Ray Serve: no frame is lost, and
none is answered twice."""

import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from tests.cloud.device import Head, Truth, connected
from tests.cloud.far_gate import FarGate
from tests.cloud.films import check_right, is_right
from tests.cloud.replicas.load import answered, asked, further, loaded
from tests.cloud.replicas.processes import CONTROLLER, REPLICA, processes, replaced
from tests.cloud.serving import answering, listening

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService, ServiceConfig
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.telemetry import CallLost, Happening

WORKERS = 4

on_replicas = pytest.mark.parametrize("source", ["ray"], indirect=True)


@pytest.fixture
async def busy(
    config: ServiceConfig, bundle: Bundle, tails: Mapping[str, Tail]
) -> AsyncIterator[RunningService]:
    """A service of several workers, with all replicas that there should be."""
    await replaced(REPLICA, set(), 2)
    with answering(bundle.manifest, tails, workers=WORKERS) as answers:
        async with listening(config, bundle, answers) as service:
            yield service


@on_replicas
async def test_a_replica_takes_nothing_along_but_what_a_video_refers_to(
    service: RunningService,
    gate_path: Path,
    head: Head,
    bundle: Bundle,
    happened: list[Happening],
) -> None:
    """One call holds a difference and frames that stand for themselves when its replica dies."""
    film, truth = head.film("cut-16", frames=4), Truth(bundle)
    plain = {sequence: head.frame("cut-256", sequence, sequence) for sequence in (1, 2)}
    with FarGate(gate_path) as gate:
        async with (
            connected(service.address) as camera,
            connected(service.address) as other,
        ):
            await camera.hello(bundle.fingerprint)
            await other.hello(bundle.fingerprint)
            gate.let_pass()
            await check_right(camera, film[1], truth)
            await gate.begun()
            holder = gate.process_ids[-1]
            await other.send(frame=head.frame("cut-16", 9))
            await gate.begun()  # so that the next ones gather
            await camera.send(frame=film[2])
            for frame in plain.values():
                await other.send(frame=frame)
                await other.roundtrip()
            await camera.roundtrip()
            gate.let_pass()
            assert (await other.result()).sequence == 9
            await gate.begun()
            assert (gate.runs[-1], gate.process_ids[-1]) == (3, holder)
            os.kill(holder, signal.SIGKILL)
            gate.open_for_good()
            error = await camera.error()
            assert (error.sequence, error.code) == (3, pb.ERROR_CODE_KEY_FRAME_NEEDED)
            results = [await other.result() for _ in plain]
            assert {result.sequence for result in results} == set(plain)
            assert all(is_right(r, Truth(bundle).of(plain[r.sequence])) for r in results)
            for frame in head.film("cut-16", frames=4, seed=1)[1:]:
                frame.sequence += 10
                await check_right(camera, frame, truth)
            for device in (camera, other):
                await device.roundtrip()  # and nothing else has come
    (lost,) = (each for each in happened if isinstance(each, CallLost))
    assert lost.frames == 3


@on_replicas
async def test_under_load_a_replica_is_killed_and_replaced_and_every_frame_is_answered(
    busy: RunningService, head: Head, bundle: Bundle
) -> None:
    async with loaded(busy, head, bundle) as load:
        victim = min(processes(REPLICA))
        os.kill(victim, signal.SIGKILL)
        await further(load)
        await replaced(REPLICA, {victim}, 2)
        await further(load)
    assert load.answers["key frames"] <= 1


@on_replicas
async def test_frames_go_on_while_the_controller_of_serve_is_replaced(
    busy: RunningService, head: Head, bundle: Bundle
) -> None:
    async with loaded(busy, head, bundle) as load:
        (controller,) = processes(CONTROLLER)
        os.kill(controller, signal.SIGKILL)
        await further(load)
        await replaced(CONTROLLER, {controller}, 1)
        await further(load)
    assert load.answers["key frames"] == 0


@on_replicas
async def test_without_any_replica_frames_end_at_their_deadlines_until_there_are_new_ones(
    busy: RunningService, head: Head, bundle: Bundle
) -> None:
    victims = processes(REPLICA)
    async with connected(busy.address) as device:
        await device.hello(bundle.fingerprint)
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        for sequence in (1, 2):
            hasty = head.frame("cut-256", sequence)
            hasty.deadline_ms = 100
            message = await asked(device, hasty)
            assert message.error.code in {pb.ERROR_CODE_TOO_LATE, pb.ERROR_CODE_OVERLOADED}
        patient = head.frame("cut-256", 3)
        await answered(device, patient, Truth(bundle).of(patient))
        await device.roundtrip()  # and nothing else has come
    assert not processes(REPLICA) & victims
