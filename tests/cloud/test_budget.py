"""All frames in flight together stay within the bytes that they may take; the sum is exact."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

import pytest
from tests.cloud.device import GUARD_S, Device, Head, connected
from tests.cloud.gated import BrokenTail, GatedTail
from tests.cloud.serving import Answers, answering, listening

from isthmus import Bundle, ConfigError, KeyFrameNeededError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import OverloadedError, RunningService, ServiceConfig, StreamMemory, serve
from isthmus_cloud.answering.budget import ByteBudget
from isthmus_cloud.answering.parts import Tail

ANSWER_BYTES = 10 * 4
# A frame of "input-raw": its payload, the picture that it becomes, and its answer.
RAW_BYTES = 2 * 32 * 32 * 3 + ANSWER_BYTES
LIMIT_BYTES = 3 * RAW_BYTES - 1  # room for two


def test_what_does_not_fit_is_not_counted() -> None:
    budget = ByteBudget(10)
    budget.take(7)
    with pytest.raises(OverloadedError, match=r"takes 4 bytes, .* in the 10 of this service"):
        budget.take(4)
    budget.take(3)
    assert budget.taken_bytes == 10
    budget.give_back(7)
    assert budget.taken_bytes == 3


@pytest.fixture
async def answerer(bundle: Bundle, gate: GatedTail) -> AsyncIterator[Answers]:
    """One worker that waits at the gate, and room for two raw pictures."""
    engines = {"input": gate, "cut": gate}
    with answering(bundle.manifest, engines, max_bytes_in_flight=LIMIT_BYTES) as answerer:
        yield answerer
        gate.open_for_good()
    assert answerer.bytes_in_flight == 0


@pytest.fixture
async def small_service(
    answerer: Answers, config: ServiceConfig, bundle: Bundle
) -> AsyncIterator[RunningService]:
    forgetful = replace(config, resume_s=0.01)
    async with listening(forgetful, bundle, answerer) as running:
        yield running


async def test_a_frame_counts_its_payload_what_it_decodes_to_and_its_answer(
    answerer: Answers, gate: GatedTail, head: Head
) -> None:
    frame = head.frame("cut-16")
    answering = asyncio.create_task(answerer.answer(frame, 1, 0, StreamMemory()))
    await gate.begun()
    assert answerer.bytes_in_flight == (len(frame.payloads[0].data) + 8 * 16 * 16 + ANSWER_BYTES)
    gate.let_pass()
    await answering
    assert answerer.bytes_in_flight == 0


async def test_beyond_the_bound_frames_of_all_devices_are_refused_undecoded(
    small_service: RunningService, answerer: Answers, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with connected(small_service.address) as one, connected(small_service.address) as two:
        await one.hello(bundle.fingerprint)
        await two.hello(bundle.fingerprint)
        await one.send(frame=head.frame("input-raw", 1))
        await gate.begun()
        await two.send(frame=head.frame("input-raw", 2))
        await two.roundtrip()
        broken = head.frame("input-raw", 3)
        broken.payloads[0].data = bytes(3071) + b"!"  # whole, so that only the sum can refuse it
        await one.send(frame=broken)
        error = await one.error()
        assert (error.sequence, error.code) == (3, pb.ERROR_CODE_OVERLOADED)
        assert f"takes {RAW_BYTES} bytes" in error.message
        assert str(LIMIT_BYTES) in error.message
        assert answerer.bytes_in_flight == 2 * RAW_BYTES
        gate.open_for_good()
        assert [(await one.result()).sequence, (await two.result()).sequence] == [1, 2]
        await one.send(frame=broken)
        assert (await one.result()).sequence == 3
    assert gate.runs == 3


async def test_a_frame_that_did_not_fit_is_not_kept(
    small_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    film = head.film("cut-16", frames=4)
    async with connected(small_service.address) as device, connected(small_service.address) as by:
        await device.hello(bundle.fingerprint)
        await by.hello(bundle.fingerprint)
        for sequence in (91, 92):
            await device.send(frame=head.frame("input-raw", sequence))
        for sequence in (1, 2):
            await by.send(frame=head.frame("cut-256", sequence))
        await by.roundtrip()
        await device.send(frame=film[1])
        error = await device.error()
        assert error.code == pb.ERROR_CODE_OVERLOADED
        assert "do not fit" in error.message
        gate.open_for_good()
        assert {(await device.result()).sequence for _ in range(2)} == {91, 92}
        await device.send(frame=film[2])
        assert (await device.error()).code == pb.ERROR_CODE_KEY_FRAME_NEEDED


def unknown(frame: pb.Frame) -> None:
    frame.candidate = "stranger"


def unknown_rung(frame: pb.Frame) -> None:
    frame.rung = 7


def without_payload(frame: pb.Frame) -> None:
    del frame.payloads[:]


def too_large(frame: pb.Frame) -> None:
    frame.payloads[0].data = bytes(LIMIT_BYTES)


def damaged(frame: pb.Frame) -> None:
    frame.payloads[0].data = b"damaged"


def damaged_and_marked(frame: pb.Frame) -> None:
    frame.payloads[0].data, frame.mark = b"damaged", 1


def without_reference(frame: pb.Frame) -> None:
    frame.reference = 5


def right(frame: pb.Frame) -> None:
    """The tail fails on it."""


@pytest.mark.parametrize(
    "damage",
    [
        unknown,
        unknown_rung,
        without_payload,
        too_large,
        damaged,
        damaged_and_marked,
        without_reference,
        right,
    ],
    ids=lambda damage: str(damage.__name__),
)
async def test_after_every_error_nothing_is_in_flight(
    bundle: Bundle, config: ServiceConfig, head: Head, damage: Callable[[pb.Frame], None]
) -> None:
    engines = {"input": BrokenTail(), "cut": BrokenTail()}
    with answering(bundle.manifest, engines, max_bytes_in_flight=LIMIT_BYTES) as answerer:
        async with (
            listening(config, bundle, answerer) as service,
            connected(service.address) as device,
        ):
            await device.hello(bundle.fingerprint)
            frame = head.frame("cut-16")
            damage(frame)
            for _ in range(3):
                await device.send(frame=frame)
                await device.error()
                assert answerer.bytes_in_flight == 0


async def test_a_frame_that_is_given_up_counts_until_no_worker_has_it(
    answerer: Answers, gate: GatedTail, head: Head
) -> None:
    memory = StreamMemory()
    begun, queued = (
        asyncio.create_task(answerer.answer(head.frame("input-raw", sequence), 1, 0, memory))
        for sequence in (1, 2)
    )
    await gate.begun()
    assert answerer.bytes_in_flight == 2 * RAW_BYTES
    for task in (queued, begun):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert answerer.bytes_in_flight == RAW_BYTES
    gate.open_for_good()
    await answerer.answer(head.frame("cut-16"), 1, 0, memory)  # behind it, on the only worker
    assert answerer.bytes_in_flight == 0
    assert gate.runs == 2


async def test_differences_that_are_given_up_count_no_more(
    answerer: Answers, gate: GatedTail, head: Head
) -> None:
    film, memory = head.film("cut-16", frames=5), StreamMemory()
    tasks = [asyncio.create_task(answerer.answer(frame, 1, 0, memory)) for frame in film]
    await gate.begun()
    first = answerer.bytes_in_flight
    for task in tasks[1:]:
        task.cancel()
    await asyncio.wait(tasks[1:])
    assert answerer.bytes_in_flight == first - sum(
        len(frame.payloads[0].data) + 8 * 16 * 16 + ANSWER_BYTES for frame in film[1:]
    )
    gate.let_pass()
    await tasks[0]
    assert answerer.bytes_in_flight == 0


async def test_a_marked_frame_that_is_given_up_is_not_decoded_for_its_successor(
    answerer: Answers, gate: GatedTail, head: Head
) -> None:
    """It counts no more, so nothing may be left of it."""
    film, memory = head.film("cut-16", frames=3), StreamMemory()
    tasks = [asyncio.create_task(answerer.answer(frame, 1, 0, memory)) for frame in film]
    await gate.begun()
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    gate.let_pass(2)
    await tasks[0]
    with pytest.raises(KeyFrameNeededError):
        await tasks[2]


@pytest.mark.parametrize("way", ["hangs up", "errs"])
async def test_a_device_that_goes_leaves_nothing_behind(
    small_service: RunningService,
    answerer: Answers,
    gate: GatedTail,
    head: Head,
    bundle: Bundle,
    way: str,
) -> None:
    async with (
        connected(small_service.address) as leaver,
        connected(small_service.address) as stayer,
    ):
        await leaver.hello(bundle.fingerprint)
        await stayer.hello(bundle.fingerprint)
        await leaver.send(frame=head.frame("input-raw", 1))
        await gate.begun()
        await leaver.send(frame=head.frame("input-raw", 2))
        await leaver.roundtrip()
        assert answerer.bytes_in_flight == 2 * RAW_BYTES
        if way == "hangs up":
            leaver.call.cancel()
        else:
            await leaver.send(frame=head.frame("input-raw", 2))  # a sequence that is in flight
        await until(stayer, lambda: answerer.bytes_in_flight == RAW_BYTES)
        gate.open_for_good()
        await stayer.send(frame=head.frame("input-raw", 9))
        assert (await stayer.result()).sequence == 9
        assert answerer.bytes_in_flight == 0


async def until(device: Device, holds: Callable[[], bool]) -> None:
    """Keep the service going until it has noticed."""
    async with asyncio.timeout(GUARD_S):
        while not holds():
            await device.roundtrip()


async def test_a_bound_below_a_single_frame_is_refused_with_what_it_takes(
    bundle: Bundle, tails: Mapping[str, Tail]
) -> None:
    with (
        pytest.raises(ConfigError, match=r"is 6183, .* 'input-raw' takes up to 6184; allow"),
        answering(bundle.manifest, tails, max_bytes_in_flight=RAW_BYTES - 1),
    ):
        pytest.fail("it takes what it cannot hold")


async def test_the_configured_bound_is_the_services(config: ServiceConfig) -> None:
    small = replace(config, max_bytes_in_flight=RAW_BYTES - 1)
    with pytest.raises(ConfigError, match="max_bytes_in_flight is 6183"):
        async with asyncio.timeout(GUARD_S):
            await serve(small, lambda _: None)
