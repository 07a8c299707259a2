"""Frames that nobody waits for any more, and frames that come too late."""

import time
from collections.abc import AsyncIterator, Mapping

import numpy as np
import pytest
from tests.cloud.device import Device, Head, Truth, connected
from tests.cloud.gated import GatedTail
from tests.cloud.serving import Answers, answering
from tests.cloud.wire import WINDOW, hello, settled, until, wired
from tests.tinybundle import PROBABILITIES

from isthmus import Bundle, decode_answer
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService, ServiceConfig, StreamMemory, TooLateError
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.sessions.sessions import Sessions


@pytest.fixture
async def device(gated_service: RunningService, bundle: Bundle) -> AsyncIterator[Device]:
    """A device of a service whose only worker waits at the gate."""
    async with connected(gated_service.address) as device:
        await device.hello(bundle.fingerprint)
        yield device


async def test_the_bytes_of_a_cancelled_frame_are_free_before_any_worker_is(
    bundle: Bundle, sessions: Sessions, answerer: Answers, gate: GatedTail, head: Head
) -> None:
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.say(frame=head.frame("input-raw", 1))
        await gate.begun()
        taken_bytes = answerer.bytes_in_flight
        for sequence in (2, 3):
            wire.say(frame=head.frame("input-raw", sequence))
        await wire.roundtrip()
        assert answerer.bytes_in_flight == 3 * taken_bytes
        wire.say(cancel=pb.Cancel(sequences=[2, 3]))
        assert await wire.receive_kinds(2) == ["error", "error"]
        await until(lambda: answerer.bytes_in_flight == taken_bytes)
        await until(lambda: answerer.load().frames_waiting == 0)
    assert gate.runs == 1


async def test_a_frame_that_is_cancelled_before_its_answer_was_told_is_answered_once(
    bundle: Bundle, sessions: Sessions, answerer: Answers, gate: GatedTail, head: Head
) -> None:
    gate.open_for_good()
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.stall()
        wire.say(heartbeat=pb.Heartbeat(id=1))  # it stands before the answer
        wire.say(frame=head.frame("cut-16", 1))
        await until(lambda: gate.runs == 1)
        await answerer.desk.quiet()
        await settled()
        wire.say(cancel=pb.Cancel(sequences=[1]))
        await settled()
        assert not wire.stream._held._outcomes
        wire.read()
        assert await wire.receive_kinds(1) == ["heartbeat"]
        assert (await wire.error()).code == pb.ERROR_CODE_CANCELLED
        await wire.roundtrip()


async def test_cancelling_what_is_not_in_flight_is_no_news(
    device: Device, gate: GatedTail, head: Head
) -> None:
    gate.open_for_good()
    await device.send(frame=head.frame("cut-16", 1))
    await device.result()
    await device.send(cancel=pb.Cancel(sequences=[0, 1, 2, 2**64 - 1]))
    await device.roundtrip()


@pytest.mark.parametrize("deadline_ms", [0, 3_600_000])
async def test_a_deadline_that_is_none_or_has_not_passed_changes_nothing(
    answerer: Answers, gate: GatedTail, head: Head, deadline_ms: int
) -> None:
    gate.open_for_good()
    frame = head.frame("cut-16")
    frame.deadline_ms = deadline_ms
    now_ns = time.monotonic_ns()
    assert (await answerer.answer(frame, now_ns, 0, StreamMemory())).sequence == 1
    assert gate.runs == 1


async def test_the_deadline_counts_from_the_arrival(
    answerer: Answers, gate: GatedTail, head: Head
) -> None:
    gate.open_for_good()
    frame = head.frame("cut-16")
    frame.deadline_ms = 60_000
    arrived_ns = time.monotonic_ns() - 61 * 10**9
    with pytest.raises(TooLateError, match=r"waited 61\d\d\d ms .* was 60000 ms"):
        await answerer.answer(frame, arrived_ns, 0, StreamMemory())
    assert gate.runs == 0
    assert answerer.bytes_in_flight == 0


async def test_a_frame_that_is_too_late_is_still_there_for_the_differences_to_it(
    bundle: Bundle, config: ServiceConfig, tails: Mapping[str, Tail], head: Head
) -> None:
    film, truth, memory = head.film("cut-16", frames=4), Truth(bundle), StreamMemory()
    film[2].deadline_ms = 1
    with answering(bundle.manifest, tails) as answerer:
        await answerer.answer(film[1], 1, 0, memory)
        with pytest.raises(TooLateError):
            await answerer.answer(film[2], 1, 0, memory)
        result = await answerer.answer(film[3], 1, 0, memory)
    expected = [truth.of(frame) for frame in film[1:]][-1]
    answer = decode_answer(result.outputs[0], PROBABILITIES)
    assert np.allclose(answer, expected, rtol=1e-5, atol=1e-7)


async def test_frames_that_are_too_late_hold_no_memory(
    answerer: Answers, gate: GatedTail, head: Head
) -> None:
    gate.open_for_good()
    memory, film = StreamMemory(), head.film("cut-16", frames=3)
    film[2].mark, film[2].deadline_ms = 0, 1
    for _ in range(5):
        with pytest.raises(TooLateError):
            await answerer.answer(film[2], 1, 0, memory)
        assert answerer.bytes_in_flight == 0
    assert len(memory._line) == 1


async def test_a_flood_of_frames_and_cancels_is_held_back_by_what_it_does_not_read(
    bundle: Bundle, sessions: Sessions, answerer: Answers, gate: GatedTail, head: Head
) -> None:
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.stall()
        for sequence in range(1, 501):
            wire.say(frame=head.frame("cut-16", sequence))
            wire.say(cancel=pb.Cancel(sequences=[sequence]))
        await settled()
        assert wire.taken < 60
        assert answerer.load().frames_waiting <= WINDOW
