"""A session outlives its stream: nothing is computed twice, nothing is kept for ever."""

from dataclasses import replace

import pytest
from tests.cloud.device import Head, connected
from tests.cloud.gated import GatedTail
from tests.cloud.serving import Answers, deployment_of
from tests.cloud.wire import begin, broken, hello, settled, until, wired

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService
from isthmus_cloud.sessions.sessions import Sessions


async def test_results_of_a_broken_stream_come_on_the_next_one_and_are_computed_once(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    async with wired(sessions) as wire:
        await begin(wire, bundle, frames[:3])
        wire.stall()
        gate.let_pass(2)
        await gate.begun()
        await gate.begun()
        await gate.begun()  # two are answered, and nobody has read it
        await settled()
        await wire.break_off()
    assert sessions.parked == 1
    gate.let_pass()
    async with wired(sessions) as wire:
        welcome = await wire.greet(hello(bundle, unanswered=[1, 2, 3]))
        assert list(welcome.held) == [1, 2, 3]
        assert sorted([(await wire.result()).sequence for _ in range(3)]) == [1, 2, 3]
        await wire.roundtrip()
    assert gate.runs == 3


async def test_a_result_that_was_sent_is_held_until_the_device_says_that_it_has_it(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    gate.open_for_good()
    async with wired(sessions) as wire:
        await begin(wire, bundle, frames[:0])
        for frame in frames[:2]:
            wire.say(frame=frame)
            await wire.result()
        wire.say(heartbeat=pb.Heartbeat(id=1, settled_through=1))
        await wire.receive()
        await wire.break_off()
    async with wired(sessions) as wire:
        welcome = await wire.greet(hello(bundle, unanswered=[1, 2]))
        assert list(welcome.held) == [2]
        assert (await wire.result()).sequence == 2
    assert gate.runs == 2


async def test_frames_in_flight_go_on_and_are_told_on_the_next_stream(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    await broken(sessions, bundle, frames)
    async with wired(sessions) as wire:
        welcome = await wire.greet(hello(bundle, unanswered=[1, 2, 3, 4]))
        assert list(welcome.held) == [1, 2, 3, 4]
        gate.let_pass(4)
        assert sorted([(await wire.result()).sequence for _ in range(4)]) == [1, 2, 3, 4]
    assert gate.runs == 4


async def test_frames_that_are_done_while_no_stream_is_there_are_kept(
    bundle: Bundle, sessions: Sessions, answerer: Answers, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    await broken(sessions, bundle, frames)
    gate.let_pass(4)
    await until(lambda: answerer.bytes_in_flight == 0)
    await settled()
    assert sessions.kept_bytes > 0
    async with wired(sessions) as wire:
        assert len((await wire.greet(hello(bundle, unanswered=[1, 2, 3, 4]))).held) == 4
        assert [(await wire.result()).sequence for _ in range(4)] == [1, 2, 3, 4]
    assert gate.runs == 4


async def test_frames_that_the_device_does_not_name_are_given_up(
    bundle: Bundle, sessions: Sessions, answerer: Answers, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    await broken(sessions, bundle, frames)
    await gate.begun()
    async with wired(sessions) as wire:
        assert list((await wire.greet(hello(bundle, unanswered=[3]))).held) == [3]
        gate.open_for_good()
        assert (await wire.result()).sequence == 3
        await wire.roundtrip()
    assert gate.runs == 2  # the one that had begun, and the one that is wanted
    assert answerer.bytes_in_flight == 0


async def test_a_frame_that_never_came_may_be_sent_on_the_next_stream(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    await broken(sessions, bundle, frames[:1])
    gate.open_for_good()
    async with wired(sessions) as wire:
        assert 2 not in (await wire.greet(hello(bundle, unanswered=[1, 2]))).held
        assert (await wire.result()).sequence == 1
        frames[1].again = True
        wire.say(frame=frames[1])
        assert (await wire.result()).sequence == 2
    assert gate.runs == 2


async def test_a_frame_that_is_sent_again_although_it_is_held_is_answered_once(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    await broken(sessions, bundle, frames[:1])
    frames[0].again = True
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle, unanswered=[1]))
        wire.say(frame=frames[0])
        await wire.roundtrip()
        gate.open_for_good()
        assert (await wire.result()).sequence == 1
        await wire.roundtrip()
    assert gate.runs == 1


async def test_a_frame_that_is_sent_again_after_its_answer_is_not_answered_twice(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    gate.open_for_good()
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.say(frame=frames[0])
        await wire.result()
        frames[0].again = True
        wire.say(frame=frames[0])
        await wire.roundtrip()
    assert gate.runs == 1


async def test_an_error_that_got_lost_costs_its_frame_a_second_try(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    frames[1].candidate = "stranger"
    async with wired(sessions) as wire:
        await begin(wire, bundle, frames[:1])
        wire.stall()
        wire.say(frame=frames[1])
        await settled()
        await wire.break_off()
    async with wired(sessions) as wire:
        assert list((await wire.greet(hello(bundle, unanswered=[1, 2]))).held) == [1]
        frames[1].again = True
        wire.say(frame=frames[1])
        error = await wire.error()
        assert (error.sequence, error.code) == (2, pb.ERROR_CODE_UNKNOWN_CANDIDATE)


async def test_the_next_stream_does_not_know_the_pictures_of_the_one_before(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, head: Head
) -> None:
    gate.open_for_good()
    film = head.film("cut-16", frames=4)
    assert film[3].reference == film[2].mark
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        for frame in film[1:3]:
            wire.say(frame=frame)
            await wire.result()
        await wire.break_off()
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.say(frame=film[3])
        error = await wire.error()
        assert (error.sequence, error.code) == (4, pb.ERROR_CODE_KEY_FRAME_NEEDED)


@pytest.mark.parametrize("stalls", [False, True], ids=["writable", "stuck"])
async def test_a_new_stream_takes_the_session_over_from_one_that_stands_half_open(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame], stalls: bool
) -> None:
    async with wired(sessions) as old, wired(sessions) as new:
        await begin(old, bundle, frames[:2])
        if stalls:
            old.stall()
            for number in range(100):
                old.say(heartbeat=pb.Heartbeat(id=number + 1))
            await settled()
        assert list((await new.greet(hello(bundle, unanswered=[1, 2]))).held) == [1, 2]
        old.say(frame=frames[2])  # on a stream that has ended
        gate.open_for_good()
        assert sorted([(await new.result()).sequence for _ in range(2)]) == [1, 2]
        await new.roundtrip()
        if stalls:
            old.read()
            assert await old.receive_kinds(1) == ["heartbeat"]  # which was being written
        error = await old.error()
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_SUPERSEDED)
        await old.ended()
        assert (sessions.count, sessions.parked) == (1, 0)
    assert gate.runs == 2


async def test_answers_that_the_old_stream_did_not_tell_are_told_on_the_new_one_only(
    bundle: Bundle, sessions: Sessions, answerer: Answers, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    async with wired(sessions) as old, wired(sessions, stalls=True) as new:
        await begin(old, bundle, frames[:2])
        old.stall()
        old.say(heartbeat=pb.Heartbeat(id=2))  # it is being written all the time
        await settled()
        gate.open_for_good()
        await until(lambda: gate.runs == 2)
        await answerer.desk.quiet()
        new.say(hello=hello(bundle, unanswered=[1, 2]))
        await settled()
        old.read()
        assert await old.receive_kinds(2) == ["heartbeat", "error"]
        await old.ended()
        new.read()
        assert list((await new.receive()).welcome.held) == [1, 2]
        assert sorted([(await new.result()).sequence for _ in range(2)]) == [1, 2]


async def test_what_still_comes_on_a_stream_that_was_superseded_is_of_no_effect(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    async with wired(sessions) as old, wired(sessions) as new:
        await begin(old, bundle, frames[:1])
        new.say(hello=hello(bundle, unanswered=[1]))
        old.say(frame=frames[0])  # out of order, were it heard
        assert list((await new.receive()).welcome.held) == [1]
        assert (await old.error()).code == pb.ERROR_CODE_SUPERSEDED
        gate.open_for_good()
        assert (await new.result()).sequence == 1


async def test_a_device_that_comes_back_again_and_again_loses_nothing(
    bundle: Bundle, sessions: Sessions, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    for _ in range(50):
        async with wired(sessions) as wire:
            wanted = [1, 2, 3, 4] if sessions.parked else []
            assert list((await wire.greet(hello(bundle, unanswered=wanted))).held) == wanted
            if not wanted:
                for frame in frames:
                    wire.say(frame=frame)
                await wire.roundtrip()
    assert (sessions.count, sessions.parked) == (1, 1)
    gate.let_pass(4)
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle, unanswered=[1, 2, 3, 4]))
        assert sorted([(await wire.result()).sequence for _ in range(4)]) == [1, 2, 3, 4]
    assert gate.runs == 4


async def test_another_bundle_does_not_take_a_session_over(
    bundle: Bundle, sessions: Sessions, frames: list[pb.Frame]
) -> None:
    await broken(sessions, bundle, frames)
    async with wired(sessions) as wire:
        stranger = hello(bundle, unanswered=[1])
        stranger.bundle_fingerprint = "f" * 64
        wire.say(hello=stranger)
        assert (await wire.error()).code == pb.ERROR_CODE_BUNDLE_MISMATCH
        await wire.ended()
    assert sessions.parked == 1


async def test_a_hello_that_names_a_million_frames_is_answered_shortly(
    bundle: Bundle, sessions: Sessions, frames: list[pb.Frame]
) -> None:
    await broken(sessions, bundle, frames)
    hostile = hello(bundle, unanswered=range(1, 1_000_001))
    async with wired(sessions) as wire:
        assert list((await wire.greet(hostile)).held) == [1, 2, 3, 4]
    fresh = hello(bundle, session_id="two", unanswered=range(1, 1_000_001))
    async with wired(sessions) as wire:
        assert not (await wire.greet(fresh)).held


async def test_over_the_network_a_second_stream_supersedes_the_first(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with connected(gated_service.address) as old, connected(gated_service.address) as new:
        await old.hello(bundle.fingerprint)
        await old.send(frame=head.frame("cut-16", 1))
        await gate.begun()
        welcome = await new.hello(bundle.fingerprint, session_id=old.session_id, unanswered=[1])
        assert list(welcome.welcome.held) == [1]
        assert (await old.error()).code == pb.ERROR_CODE_SUPERSEDED
        await old.ended()
        gate.let_pass()
        assert (await new.result()).sequence == 1
    assert gate.runs == 1


async def test_a_hello_that_was_overtaken_takes_no_session_back(
    bundle: Bundle, sessions: Sessions, frames: list[pb.Frame]
) -> None:
    await broken(sessions, bundle, frames)
    newer, older = hello(bundle, unanswered=[1]), hello(bundle)
    newer.stream, older.stream = 2, 1
    async with wired(sessions) as wire:
        assert list((await wire.greet(newer)).held) == [1]
        async with wired(sessions) as late:
            late.say(hello=older)
            refusal = await late.receive()
            assert refusal.error.code == pb.ERROR_CODE_SUPERSEDED
        assert sessions.count == 1


async def test_a_hello_of_another_bundle_that_was_overtaken_ends_no_newer_session(
    bundle: Bundle, answerer: Answers, sessions: Sessions, frames: list[pb.Frame]
) -> None:
    """The device had the other bundle before; the service has both."""
    other = replace(bundle, fingerprint="0" * 64)
    before = replace(deployment_of(bundle, answerer), name="other", bundle=other)
    before.terms.bundle_fingerprint = before.fingerprint
    sessions._deployments.activate(before)
    newer, older = hello(bundle), hello(bundle)
    newer.stream, older.stream = 2, 1
    older.bundle_fingerprint = before.fingerprint
    async with wired(sessions) as wire, wired(sessions) as late:
        await wire.greet(newer)
        wire.say(frame=frames[0])
        await wire.roundtrip()
        late.say(hello=older)
        assert (await late.error()).code == pb.ERROR_CODE_SUPERSEDED
        await wire.roundtrip()
        older.stream = 3  # and so it would be the device's present one
        async with wired(sessions) as latest:
            assert (await latest.greet(older)).bundle_fingerprint == before.fingerprint
            assert (await wire.error()).code == pb.ERROR_CODE_SUPERSEDED
    assert sessions.count == 0
