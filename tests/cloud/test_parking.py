"""Parked sessions are bounded in time, in number and in bytes, and end with the service."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from tests.cloud.device import GUARD_S, Head, connected
from tests.cloud.gated import GatedTail
from tests.cloud.serving import Answers
from tests.cloud.wire import (
    Call,
    Wire,
    begin,
    broken,
    bytes_of,
    hello,
    new_sessions,
    settled,
    until,
    wired,
)

from isthmus import Bundle
from isthmus.session import ServiceLimits
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Core, RunningService
from isthmus_cloud.faces.split import Context as ServicerContext
from isthmus_cloud.faces.split import SplitService
from isthmus_cloud.sessions import sessions as sessions_module
from isthmus_cloud.sessions.sessions import Sessions


async def test_a_session_with_nothing_to_give_ends_with_its_stream(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    gate.open_for_good()
    async with wired(sessions) as wire:
        await begin(wire, bundle, [])
        wire.say(frame=frames[0])
        await wire.result()
        wire.say(heartbeat=pb.Heartbeat(id=1, settled_through=1))
        await wire.receive()
        assert sessions.count == 1
        await wire.break_off()
    assert sessions.count == 0


async def test_an_error_that_was_not_told_is_nothing_to_keep_a_session_for(
    bundle: Bundle, sessions: Sessions, frames: list[pb.Frame]
) -> None:
    frames[0].candidate = "stranger"
    async with wired(sessions) as wire:
        await begin(wire, bundle, [])
        wire.stall()
        wire.say(heartbeat=pb.Heartbeat(id=2))  # it stands before the error
        wire.say(frame=frames[0])
        await settled()
        await wire.break_off()
    assert sessions.count == 0


async def test_a_parked_session_whose_frames_all_fail_ends_at_once(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    frames[1].payloads[0].data = b"damaged"
    async with wired(sessions) as wire:
        await begin(wire, bundle, frames[:1], "other")  # it keeps the worker busy
        async with wired(sessions) as second:
            await begin(second, bundle, [frames[1]])
            await second.break_off()
        assert (sessions.count, sessions.parked) == (2, 1)
        gate.open_for_good()
        await wire.result()
        await until(lambda: sessions.parked == 0)
        assert sessions.count == 1


async def test_a_parked_session_is_forgotten_after_a_while(
    bundle: Bundle, answerer: Answers, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    sessions = new_sessions(bundle, answerer, ServiceLimits(resume_s=0.01))
    async with wired(sessions) as stayer:
        await begin(stayer, bundle, [], "stayer")
        await broken(sessions, bundle, frames)
        await gate.begun()
        await until(lambda: sessions.count == 1)
        await until(lambda: answerer.bytes_in_flight == bytes_of(frames[0]))  # that runs already
        gate.open_for_good()
        await until(lambda: answerer.bytes_in_flight == 0)
        await stayer.roundtrip()
    assert gate.runs == 1


async def test_a_device_that_comes_back_too_late_begins_anew(
    bundle: Bundle, answerer: Answers, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    sessions = new_sessions(bundle, answerer, ServiceLimits(resume_s=0.01))
    await broken(sessions, bundle, frames[:1])
    await until(lambda: sessions.count == 0)
    gate.open_for_good()
    async with wired(sessions) as wire:
        assert not (await wire.greet(hello(bundle, unanswered=[1]))).held
        frames[0].again = True
        wire.say(frame=frames[0])
        assert (await wire.result()).sequence == 1


async def test_of_too_many_parked_sessions_the_oldest_goes_first(
    bundle: Bundle, answerer: Answers, frames: list[pb.Frame]
) -> None:
    sessions = new_sessions(bundle, answerer, max_parked=2)
    for name in ("a", "b", "c"):
        await broken(sessions, bundle, frames[:1], name)
    assert (sessions.count, sessions.parked) == (2, 2)
    for name, held in (("a", []), ("b", [1]), ("c", [1])):
        async with wired(sessions) as wire:
            welcome = await wire.greet(hello(bundle, name, unanswered=[1]))
            assert (name, list(welcome.held)) == (name, held)


async def test_the_results_of_parked_sessions_go_first_those_of_the_oldest_before_others(
    bundle: Bundle,
    sessions: Sessions,
    answerer: Answers,
    gate: GatedTail,
    frames: list[pb.Frame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("a", "b"):
        await broken(sessions, bundle, frames[:2], name)
    gate.let_pass()
    await until(lambda: sessions.kept_bytes > 0)
    one_result = sessions.kept_bytes
    monkeypatch.setattr(sessions_module, "MOST_KEPT_BYTES", int(3.5 * one_result))
    gate.let_pass(2)
    await until(lambda: sessions.kept_bytes > 2.5 * one_result)
    assert sessions.parked == 2
    gate.let_pass()
    await answerer.quiet()
    await settled()
    assert sessions.parked == 1
    assert 1.5 * one_result < sessions.kept_bytes < 2.5 * one_result
    async with wired(sessions) as wire:
        assert list((await wire.greet(hello(bundle, "b", unanswered=[1, 2]))).held) == [1, 2]


async def test_a_parked_session_that_forgets_its_results_goes_on_with_its_frames(
    bundle: Bundle,
    sessions: Sessions,
    gate: GatedTail,
    frames: list[pb.Frame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions_module, "MOST_KEPT_BYTES", 0)
    await broken(sessions, bundle, frames[:2])
    gate.let_pass()
    await gate.begun()
    await gate.begun()
    await settled()
    assert (sessions.parked, sessions.kept_bytes) == (1, 0)
    async with wired(sessions) as wire:
        assert list((await wire.greet(hello(bundle, unanswered=[1, 2]))).held) == [2]
        gate.let_pass()
        assert (await wire.result()).sequence == 2


async def test_the_results_of_live_sessions_are_bounded_too_the_largest_gives_most(
    bundle: Bundle,
    sessions: Sessions,
    gate: GatedTail,
    frames: list[pb.Frame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate.open_for_good()
    async with wired(sessions) as small, wired(sessions) as large:
        await answered(small, bundle, frames[:1], "small")
        one_result = sessions.kept_bytes
        await answered(large, bundle, frames[:3], "large")
        assert sessions.kept_bytes > 3.5 * one_result
        monkeypatch.setattr(sessions_module, "MOST_KEPT_BYTES", int(4.5 * one_result))
        large.say(frame=frames[3])
        assert (await large.result()).sequence == 4  # which is told all the same
        await large.roundtrip()
        assert sessions.kept_bytes < 3.5 * one_result
        await small.break_off()
        await large.break_off()
    for name, held in (("small", [1]), ("large", [3, 4])):
        async with wired(sessions) as wire:
            welcome = await wire.greet(hello(bundle, name, unanswered=[1, 2, 3, 4]))
            assert (name, list(welcome.held)) == (name, held)


async def answered(wire: Wire, bundle: Bundle, frames: list[pb.Frame], name: str) -> None:
    """The device has its answers, and does not say so."""
    await wire.greet(hello(bundle, name))
    for frame in frames:
        wire.say(frame=frame)
        await wire.result()


async def test_what_all_sessions_keep_is_counted_until_they_end(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    gate.open_for_good()
    frames[0].audited = True
    async with wired(sessions) as wire:
        await answered(wire, bundle, frames[:2], "one")
        one_result = sessions.kept_bytes / 3  # two for a resume, one for an audit as well
        wire.say(heartbeat=pb.Heartbeat(id=1, settled_through=2))
        await wire.receive()
        assert 0.9 * one_result < sessions.kept_bytes < 1.1 * one_result
        wire.say(frame=frames[0])  # out of order
        await wire.error()
    assert sessions.kept_bytes == 0


async def test_draining_forgets_parked_sessions_and_is_done_at_once(
    bundle: Bundle, core: Core, answerer: Answers, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    service, sessions = SplitService(core), core.sessions
    await broken(sessions, bundle, frames)
    await gate.begun()
    core.drain(GUARD_S)
    assert sessions.count == 0
    await until(lambda: answerer.bytes_in_flight == bytes_of(frames[0]))  # that runs already
    call = Call(dead=False)

    async def messages() -> AsyncIterator[pb.EdgeMessage]:
        yield pb.EdgeMessage(hello=hello(bundle, unanswered=[1]))

    await service.Stream(messages(), cast("ServicerContext", call))
    assert (await call.written.get()).error.code == pb.ERROR_CODE_DRAINING


async def test_a_stream_that_breaks_while_the_service_drains_leaves_nothing(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    async with wired(sessions) as wire:
        await begin(wire, bundle, frames)
        wire.stream.drain(GUARD_S)
        assert await wire.receive_kinds(1) == ["drain"]
        await wire.break_off()
    assert sessions.count == 0


async def test_a_stream_that_breaks_after_the_service_has_ended_is_not_parked(
    bundle: Bundle, sessions: Sessions, answerer: Answers, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    async with wired(sessions) as wire:
        await begin(wire, bundle, frames)
        await gate.begun()
        sessions.end_parked()
        await wire.break_off()
    assert sessions.count == 0
    await until(lambda: answerer.bytes_in_flight == bytes_of(frames[0]))  # that runs already


async def test_a_service_with_parked_sessions_ends_promptly(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with connected(gated_service.address) as device:
        await device.hello(bundle.fingerprint)
        await device.send(frame=head.frame("cut-16"))
        await gate.begun()
    async with asyncio.timeout(GUARD_S):
        await gated_service.drain(GUARD_S)
