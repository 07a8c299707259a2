"""Frames that nobody waits for any more, that come too late, and that are too many."""

import time
from collections.abc import Mapping
from dataclasses import replace

from tests.cloud.device import Device, Head, connected
from tests.cloud.far_gate import FarGate
from tests.cloud.wire import WINDOW, until

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Core, ServiceConfig
from isthmus_cloud import listening as listening_core
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.deployments.deployment import deployed


async def cancelled(device: Device, *sequences: int) -> None:
    """The device cancels these frames, and is told that they are."""
    await device.send(cancel=pb.Cancel(sequences=sequences))
    for sequence in sequences:
        error = await device.error()
        assert (error.sequence, error.code) == (sequence, pb.ERROR_CODE_CANCELLED)


async def test_a_frame_that_is_cancelled_before_it_was_begun_is_not_run(
    device: Device, gate: FarGate, head: Head
) -> None:
    for sequence in (1, 2, 3):
        await device.send(frame=head.frame("cut-16", sequence))
        if sequence == 1:
            await gate.begun()
    await device.roundtrip()
    await cancelled(device, 2)
    gate.open_for_good()
    assert {(await device.result()).sequence for _ in range(2)} == {1, 3}
    await device.roundtrip()
    assert gate.runs == [1, 1]


async def test_the_answer_of_a_frame_that_is_cancelled_while_it_runs_is_dropped(
    device: Device, gate: FarGate, head: Head
) -> None:
    await device.send(frame=head.frame("cut-16", 1))
    await gate.begun()
    await cancelled(device, 1)
    gate.open_for_good()
    await device.send(frame=head.frame("cut-16", 2))
    assert (await device.result()).sequence == 2
    await device.roundtrip()
    assert gate.runs == [1, 1]


async def test_more_frames_than_the_window_are_refused_until_some_are_answered_or_cancelled(
    device: Device, gate: FarGate, head: Head
) -> None:
    for sequence in range(1, WINDOW + 3):
        await device.send(frame=head.frame("cut-16", sequence))
    refused = [await device.error(), await device.error()]
    assert [error.sequence for error in refused] == [WINDOW + 1, WINDOW + 2]
    assert {error.code for error in refused} == {pb.ERROR_CODE_OVERLOADED}
    await cancelled(device, 3)
    await device.send(frame=head.frame("cut-16", WINDOW + 3))
    gate.open_for_good()
    answered = {(await device.result()).sequence for _ in range(WINDOW)}
    assert answered == {1, 2, 4, WINDOW + 3}
    await device.send(frame=head.frame("cut-16", WINDOW + 4))
    assert (await device.result()).sequence == WINDOW + 4


async def test_a_frame_whose_deadline_passes_in_the_queue_is_not_run(
    device: Device, gate: FarGate, head: Head
) -> None:
    late = head.frame("cut-16", 2)
    late.deadline_ms = 1
    await device.send(frame=head.frame("cut-16", 1))
    await gate.begun()
    await device.send(frame=late)
    await device.send(heartbeat=pb.Heartbeat(id=1))
    messages = [await device.receive()]
    if not messages[0].HasField("heartbeat"):  # it may have been told already
        messages.append(await device.receive())
    passed_s = time.monotonic() + 2 * late.deadline_ms / 1e3
    await until(lambda: time.monotonic() > passed_s)
    gate.open_for_good()
    messages += [await device.receive() for _ in range(3 - len(messages))]
    by_kind = {str(message.WhichOneof("kind")): message for message in messages}
    assert by_kind["result"].result.sequence == 1
    error = by_kind["error"].error
    assert (error.sequence, error.code) == (2, pb.ERROR_CODE_TOO_LATE)
    assert gate.runs == [1]


async def test_a_frame_for_which_the_queue_has_no_place_is_refused_with_a_time_to_come_back(
    config: ServiceConfig, tails: Mapping[str, Tail], gate: FarGate, head: Head, bundle: Bundle
) -> None:
    full = replace(config, max_waiting=1, workers=1, ray=None)
    async with Core(full) as core:
        core.deployments.activate(deployed(bundle, tails, core.desk, version="1", window=WINDOW))
        async with listening_core(full, core) as service, connected(service.address) as device:
            await device.hello(bundle.fingerprint)
            await device.send(frame=head.frame("cut-16", 1))
            await gate.begun()
            for sequence in (2, 3):
                await device.send(frame=head.frame("cut-16", sequence))
            error = await device.error()
            assert (error.sequence, error.code) == (3, pb.ERROR_CODE_OVERLOADED)
            assert error.retry_after_ms >= 0
            gate.open_for_good()
            assert {(await device.result()).sequence for _ in range(2)} == {1, 2}
