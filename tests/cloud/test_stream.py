"""One stream: what happens when the device does not read, stalls, breaks off or says nonsense."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import grpc
import pytest
from tests.cloud.device import GUARD_S, Head
from tests.cloud.gated import GatedTail
from tests.cloud.serving import Answers
from tests.cloud.wire import PATIENT, WINDOW, Call, hello, new_sessions, settled, until, wired

from isthmus import Bundle, LinkError
from isthmus.session import ServiceLimits
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Core
from isthmus_cloud.faces import split
from isthmus_cloud.faces.split import Context as ServicerContext
from isthmus_cloud.faces.split import SplitService
from isthmus_cloud.sessions.sessions import Sessions
from isthmus_cloud.sessions.stream import OUTBOX_MESSAGES


async def test_a_device_that_does_not_read_is_not_read_either(
    bundle: Bundle, sessions: Sessions
) -> None:
    async with wired(sessions, stalls=True) as wire:
        wire.say(hello=hello(bundle))
        for number in range(10 * OUTBOX_MESSAGES):
            wire.say(heartbeat=pb.Heartbeat(id=number + 1))
        await settled()
        assert wire.taken <= OUTBOX_MESSAGES + 3
        wire.read()
        assert await wire.receive_kinds(1) == ["welcome"]
        ids = [(await wire.receive()).heartbeat.id for _ in range(10 * OUTBOX_MESSAGES)]
        assert ids == list(range(1, 10 * OUTBOX_MESSAGES + 1))


async def test_padding_that_is_asked_for_comes_down_and_is_bounded_by_the_stream(
    bundle: Bundle, sessions: Sessions
) -> None:
    """However much is asked for before anything is read."""
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.stall()
        for number in range(1, 4 * OUTBOX_MESSAGES + 1):
            wire.say(heartbeat=pb.Heartbeat(id=number, answer_bytes=2**32 - 1))
        await settled()
        assert wire.taken <= OUTBOX_MESSAGES + 3
        wire.read()
        echoes = [(await wire.receive()).heartbeat for _ in range(4 * OUTBOX_MESSAGES)]
    assert [echo.id for echo in echoes] == list(range(1, 4 * OUTBOX_MESSAGES + 1))
    assert len(echoes[0].padding) == PATIENT.padding_bytes
    assert sum(len(echo.padding) for echo in echoes) == PATIENT.stream_padding_bytes
    assert all(echo.received_ns <= echo.answered_ns for echo in echoes)


async def test_answers_that_are_not_read_keep_their_places_in_the_window(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, head: Head
) -> None:
    gate.open_for_good()
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.stall()
        for sequence in range(1, 3 * WINDOW):
            wire.say(frame=head.frame("cut-16", sequence))
        await settled()
        wire.read()
        answered = [await wire.receive() for _ in range(3 * WINDOW - 1)]
    refused = {m.error.sequence for m in answered if m.error.code == pb.ERROR_CODE_OVERLOADED}
    # The writer may already hold one answer, whose place is free then.
    assert refused >= set(range(WINDOW + 2, 3 * WINDOW))
    assert {m.result.sequence for m in answered if m.HasField("result")} == (
        set(range(1, 3 * WINDOW)) - refused
    )


async def test_a_heartbeat_comes_back_before_the_answers_that_are_not_read(
    bundle: Bundle, sessions: Sessions, answerer: Answers, gate: GatedTail, head: Head
) -> None:
    gate.open_for_good()
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.stall()
        for sequence in range(1, WINDOW + 1):
            wire.say(frame=head.frame("cut-16", sequence))
        await until(lambda: gate.runs == WINDOW)
        await answerer.desk.quiet()
        await settled()
        wire.say(heartbeat=pb.Heartbeat(id=7))
        await settled()
        reads_from_ns = time.monotonic_ns()
        wire.read()
        messages = [await wire.receive() for _ in range(WINDOW + 1)]
    kinds = [message.WhichOneof("kind") for message in messages]
    assert kinds.index("heartbeat") <= 1  # one answer was on its way already
    echo = messages[kinds.index("heartbeat")].heartbeat
    assert echo.id == 7
    assert echo.received_ns < reads_from_ns < echo.answered_ns


async def test_frames_in_flight_are_answered_after_a_half_close(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, head: Head
) -> None:
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.say(frame=head.frame("cut-16", 1))
        wire.say(frame=head.frame("cut-16", 2))
        wire.half_close()
        gate.let_pass(2)
        assert {(await wire.result()).sequence for _ in range(2)} == {1, 2}
        await wire.ended()
    assert sessions.parked == 1  # nobody knows whether they have arrived


async def test_a_device_that_has_all_answers_and_says_so_leaves_nothing_behind(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, head: Head
) -> None:
    gate.open_for_good()
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.say(frame=head.frame("cut-16", 1))
        await wire.result()
        wire.say(heartbeat=pb.Heartbeat(id=1, settled_through=1))
        wire.half_close()
        assert await wire.receive_kinds(1) == ["heartbeat"]
        await wire.ended()
    assert sessions.count == 0


async def test_a_half_close_before_hello_ends_the_stream(sessions: Sessions) -> None:
    async with wired(sessions) as wire:
        wire.half_close()
        await wire.ended()


async def test_an_error_of_the_device_gives_up_its_frames_and_its_session(
    bundle: Bundle, sessions: Sessions, answerer: Answers, gate: GatedTail, head: Head
) -> None:
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        for sequence in (1, 2, 2):
            wire.say(frame=head.frame("cut-16", sequence))
        error = await wire.error()
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_PROTOCOL)
        await wire.ended()
    assert sessions.count == 0
    gate.open_for_good()
    await until(lambda: answerer.bytes_in_flight == 0)
    assert gate.runs <= 1


@pytest.mark.parametrize("count", [0, 65, 100_000])
async def test_an_id_that_nobody_would_choose_is_refused_with_what_is_allowed(
    bundle: Bundle, sessions: Sessions, count: int
) -> None:
    async with wired(sessions) as wire:
        wire.say(hello=hello(bundle, session_id="x" * count))
        error = await wire.error()
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_PROTOCOL)
        assert error.message == f"the session id has {count} characters; allowed are 1 to 64"
        await wire.ended()
    assert sessions.count == 0


@pytest.mark.parametrize("count", [1, 64])
async def test_the_shortest_and_the_longest_id_are_taken(
    bundle: Bundle, sessions: Sessions, count: int
) -> None:
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle, session_id="x" * count))
        assert sessions.count == 1


async def test_no_hello_for_a_while_ends_the_stream(bundle: Bundle, answerer: Answers) -> None:
    sessions = new_sessions(bundle, answerer, ServiceLimits(hello_s=0.01))
    async with wired(sessions) as wire:
        error = await wire.error()
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_PROTOCOL)
        assert error.message == "no Hello within 0.01 s"
        await wire.ended()


@pytest.mark.parametrize("stalls", [False, True], ids=["writable", "stuck"])
async def test_a_device_that_is_silent_for_too_long_is_told_and_may_come_back(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, head: Head, stalls: bool
) -> None:
    async with wired(sessions) as silent, wired(sessions) as wire:
        await silent.greet(hello(bundle))
        silent.say(frame=head.frame("cut-16", 1))
        if stalls:
            silent.stall()
            silent.say(heartbeat=pb.Heartbeat(id=1))  # it is being written all the time
        await gate.begun()
        await settled()
        silent.stream._on_time(asyncio.get_running_loop().time() + 2 * GUARD_S)
        assert sessions.parked == 1
        assert silent.stream._wakes_at() == float("inf")  # the session is not its own any more
        assert list((await wire.greet(hello(bundle, unanswered=[1]))).held) == [1]
        silent.read()
        assert await silent.receive_kinds(stalls) == ["heartbeat"] * stalls
        error = await silent.error()
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_IDLE)
        await silent.ended()
        gate.let_pass()
        wire.say(heartbeat=pb.Heartbeat(id=2))
        kinds = await wire.receive_kinds(2)
        assert sorted(kinds) == ["heartbeat", "result"]
    assert gate.runs == 1


async def test_a_silent_device_with_nothing_in_flight_is_forgotten(
    bundle: Bundle, answerer: Answers
) -> None:
    sessions = new_sessions(bundle, answerer, ServiceLimits(idle_s=0.02, beat_s=GUARD_S))
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        assert (await wire.error()).code == pb.ERROR_CODE_IDLE
        await wire.ended()
    assert sessions.count == 0


async def test_a_device_that_reads_nothing_for_ever_is_ended_all_the_same(
    bundle: Bundle, answerer: Answers
) -> None:
    """However much it says: else it would keep its stream until its connection ends."""
    sessions = new_sessions(bundle, answerer, ServiceLimits(idle_s=0.02))
    async with wired(sessions, stalls=True) as wire:
        wire.say(hello=hello(bundle))
        for number in range(10 * OUTBOX_MESSAGES):
            wire.say(heartbeat=pb.Heartbeat(id=number + 1))
        await until(lambda: sessions.count == 1)
        await until(wire.serving.done)
        with pytest.raises(ExceptionGroup) as ended:
            await wire.serving
        assert sessions.count == 0
    (broken,) = ended.value.exceptions
    assert isinstance(broken, LinkError)
    assert str(broken) == "the device has read nothing for 0.02 s"


async def test_frames_of_a_device_that_reads_nothing_go_on_and_are_told_elsewhere(
    bundle: Bundle, answerer: Answers, gate: GatedTail, head: Head
) -> None:
    limits = replace(PATIENT, idle_s=0.05)
    sessions = new_sessions(bundle, answerer, limits)
    async with wired(sessions) as deaf:
        await deaf.greet(hello(bundle))
        deaf.stall()
        deaf.say(frame=head.frame("cut-16", 1))
        deaf.say(heartbeat=pb.Heartbeat(id=1))  # whose echo is not taken
        await until(deaf.serving.done)
        assert isinstance(deaf.serving.exception(), ExceptionGroup)
        gate.let_pass()
        async with wired(sessions) as wire:
            assert list((await wire.greet(hello(bundle, unanswered=[1]))).held) == [1]
            assert (await wire.result()).sequence == 1
    assert gate.runs == 1


async def test_a_service_with_nothing_to_say_gives_signs_of_life(
    bundle: Bundle, answerer: Answers
) -> None:
    sessions = new_sessions(bundle, answerer, ServiceLimits(idle_s=GUARD_S, beat_s=0.005))
    async with wired(sessions) as wire:
        assert (await wire.greet(hello(bundle))).beat_ms == 5
        beats = [(await wire.receive()).heartbeat for _ in range(3)]
    assert [(beat.id, beat.received_ns) for beat in beats] == [(0, 0)] * 3


async def test_signs_of_life_do_not_pile_up_for_a_device_that_does_not_read(
    bundle: Bundle, answerer: Answers
) -> None:
    limits = ServiceLimits(idle_s=GUARD_S, beat_s=0.001)
    async with wired(new_sessions(bundle, answerer, limits)) as wire:
        await wire.greet(hello(bundle))
        wire.stall()
        stalls_until_s = asyncio.get_running_loop().time() + 50 * limits.beat_s
        await until(lambda: asyncio.get_running_loop().time() > stalls_until_s)
        wire.say(heartbeat=pb.Heartbeat(id=1))
        await settled()
        wire.read()
        ids = [0]
        while ids[-1] == 0:
            ids.append((await wire.receive()).heartbeat.id)
        assert len(ids) <= 4


async def test_a_service_that_said_something_has_no_need_of_a_sign_of_life(
    bundle: Bundle, answerer: Answers
) -> None:
    limits = ServiceLimits(idle_s=2 * GUARD_S, beat_s=GUARD_S)
    async with wired(new_sessions(bundle, answerer, limits)) as wire:
        await wire.greet(hello(bundle))
        rules = wire.stream._held.rules
        next_beat_at = rules.wakes_at()
        await wire.roundtrip()
        await settled()
        assert rules.wakes_at() > next_beat_at


@pytest.mark.parametrize("dead_to", ["reader", "writer"])
async def test_a_call_that_breaks_off_ends_its_stream_quietly(
    bundle: Bundle, core: Core, caplog: pytest.LogCaptureFixture, dead_to: str
) -> None:
    call = Call(dead=dead_to == "writer")

    async def messages() -> AsyncIterator[pb.EdgeMessage]:
        yield pb.EdgeMessage(hello=hello(bundle))
        await call.written.get()
        raise grpc.aio.InternalError("the call is dead")

    service = SplitService(core)
    with caplog.at_level(logging.INFO):
        async with asyncio.timeout(GUARD_S):
            await service.Stream(messages(), cast("ServicerContext", call))
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert core.sessions.count == 0


async def test_a_service_that_drains_ends_new_streams_before_they_say_hello(
    core: Core,
) -> None:
    service = SplitService(core)
    core.drain(1.5)
    call = Call(dead=False)

    async def messages() -> AsyncIterator[pb.EdgeMessage]:
        await asyncio.Event().wait()
        yield pb.EdgeMessage()

    async with asyncio.timeout(GUARD_S):
        await service.Stream(messages(), cast("ServicerContext", call))
        error = (await call.written.get()).error
    assert (error.sequence, error.code) == (0, pb.ERROR_CODE_DRAINING)


async def test_more_devices_than_the_service_serves_are_told_to_come_back_later(
    core: Core,
) -> None:
    service = SplitService(core, max_streams=1)
    gone = asyncio.Event()

    async def messages() -> AsyncIterator[pb.EdgeMessage]:
        await gone.wait()
        if not gone.is_set():
            yield pb.EdgeMessage()

    async def stream(call: Call) -> None:
        await service.Stream(messages(), cast("ServicerContext", call))

    first, second, third = Call(dead=False), Call(dead=False), Call(dead=True)
    serving = asyncio.create_task(stream(first))
    await settled()
    async with asyncio.timeout(GUARD_S):
        await stream(second)
        error = (await second.written.get()).error
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_OVERLOADED)
        assert "no more devices than 1 are served at once" in error.message
        await stream(third)
        gone.set()
        await serving
        await stream(second)
    assert second.written.empty()


async def test_what_waits_to_be_told_does_not_outlast_the_service(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, head: Head
) -> None:
    gate.open_for_good()
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.say(frame=head.frame("cut-16", 1))
        await wire.result()
        gate_runs = gate.runs
        sessions.end_parked()
        wire.stream.end()
        await wire.ended()
    assert (sessions.count, gate.runs) == (0, gate_runs)


async def test_a_device_too_many_that_reads_nothing_does_not_keep_its_call(
    core: Core, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(split, "REFUSAL_S", 0.01)
    nobody = cast("AsyncIterator[pb.EdgeMessage]", None)
    with caplog.at_level(logging.INFO):
        async with asyncio.timeout(GUARD_S):
            await SplitService(core, max_streams=0).Stream(nobody, cast("ServicerContext", Deaf()))
    assert "did not wait" in caplog.messages[-1]


class Deaf(Call):
    """A call on which nothing is taken."""

    def __init__(self) -> None:
        super().__init__(dead=False)

    async def write(self, message: pb.CloudMessage) -> None:
        await asyncio.Event().wait()
