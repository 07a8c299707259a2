"""Videos over real gRPC: differences are added to the right frame, or a key frame is asked for."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import numpy as np
import pytest
from tests.cloud.device import Device, Head, Truth, connected
from tests.cloud.gated import GatedTail
from tests.cloud.serving import answering, listening
from tests.tinybundle import PROBABILITIES

from isthmus import Bundle, decode_answer
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService, ServiceConfig
from isthmus_cloud.answering.parts import Tail

CUTS = ["cut-256", "cut-16"]


@pytest.fixture
async def busy_service(
    bundle: Bundle, config: ServiceConfig, tails: Mapping[str, Tail]
) -> AsyncIterator[RunningService]:
    with answering(bundle.manifest, tails, workers=4) as answerer:
        async with listening(config, bundle, answerer) as running:
            yield running


async def check_result(device: Device, expected: Mapping[int, np.ndarray]) -> int:
    """The next message is the right answer to one of the frames; its sequence."""
    result = await device.result()
    answer = decode_answer(result.outputs[0], PROBABILITIES)
    assert np.allclose(answer, expected[result.sequence], rtol=1e-5, atol=1e-7), result.sequence
    return result.sequence


async def check_right(device: Device, frame: pb.Frame, truth: Truth) -> None:
    """The frame is answered, and rightly."""
    await device.send(frame=frame)
    await check_result(device, {frame.sequence: truth.of(frame)})


async def key_frame_needed(device: Device, frame: pb.Frame) -> None:
    """The frame is refused for want of its reference."""
    await device.send(frame=frame)
    error = await device.error()
    assert (error.sequence, error.code) == (frame.sequence, pb.ERROR_CODE_KEY_FRAME_NEEDED)
    assert f"marked {frame.reference}" in error.message
    assert "send it again as a key frame" in error.message


@pytest.mark.parametrize("candidate", CUTS)
async def test_four_workers_keep_the_order_of_each_stream(
    busy_service: RunningService, head: Head, bundle: Bundle, candidate: str
) -> None:
    """Every frame is a difference to the one before: one out of order and all after it are lost."""
    frames = 60

    async def stream(seed: int) -> set[int]:
        film, truth = head.film(candidate, frames, seed), Truth(bundle)
        assert sum(frame.reference > 0 for frame in film) >= frames - 3
        expected = {frame.sequence: truth.of(frame) for frame in film}
        answered = set()
        async with connected(busy_service.address) as device:
            window = (await device.hello(bundle.fingerprint)).welcome.window
            for frame in film[:window]:
                await device.send(frame=frame)
            for index in range(frames):
                answered.add(await check_result(device, expected))
                if index + window < frames:
                    await device.send(frame=film[index + window])
        return answered

    answered = await asyncio.gather(*(stream(seed) for seed in range(3)))
    assert answered == [set(range(1, frames + 1))] * 3


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


async def test_a_lost_reference_costs_one_frame_which_may_be_sent_again(
    device: Device, head: Head, bundle: Bundle
) -> None:
    film, truth = head.film("cut-16", frames=5), Truth(bundle)
    await check_right(device, film[1], truth)
    await key_frame_needed(device, film[3])  # 2 never came
    again = head.frame("cut-16", sequence=film[3].sequence)
    await check_right(device, again, truth)
    await check_right(device, film[2], truth)  # what was kept before is kept still


@pytest.mark.parametrize("reference", [1, 3, 2**64 - 1])
async def test_a_mark_that_is_not_held_is_never_taken_for_another(
    device: Device, head: Head, bundle: Bundle, reference: int
) -> None:
    film, truth = head.film("cut-16", frames=5), Truth(bundle)
    for frame in film[:3]:
        await check_right(device, frame, truth)
    wrong = pb.Frame()
    wrong.CopyFrom(film[3])
    assert wrong.reference == 2
    wrong.reference = reference
    await key_frame_needed(device, wrong)
    await check_right(device, film[3], truth)


async def test_the_mark_of_another_candidate_is_not_held(
    device: Device, head: Head, bundle: Bundle
) -> None:
    fine, coarse = head.film("cut-256", frames=3), head.film("cut-16", frames=3)
    assert fine[1].mark == coarse[2].reference
    await check_right(device, fine[1], Truth(bundle))
    await key_frame_needed(device, coarse[2])


async def test_the_mark_of_another_stream_is_not_held(
    service: RunningService, device: Device, head: Head, bundle: Bundle
) -> None:
    film, truth = head.film("cut-16", frames=3), Truth(bundle)
    await check_right(device, film[1], truth)
    async with connected(service.address) as other:
        await other.hello(bundle.fingerprint)
        await key_frame_needed(other, film[2])
    await check_right(device, film[2], truth)


async def test_a_new_stream_of_the_same_device_remembers_nothing(
    service: RunningService, head: Head, bundle: Bundle
) -> None:
    film = head.film("cut-16", frames=3)
    async with connected(service.address) as device:
        await device.hello(bundle.fingerprint)
        await check_right(device, film[1], Truth(bundle))
    async with connected(service.address) as device:
        await device.hello(bundle.fingerprint)
        await key_frame_needed(device, film[2])


async def test_frames_between_that_stand_for_themselves_disturb_nothing(
    device: Device, head: Head, bundle: Bundle
) -> None:
    film, truth = head.film("cut-256", frames=5), Truth(bundle)
    for frame in film:
        await check_right(device, frame, truth)
        between = head.frame("input-raw", sequence=50 + frame.sequence)
        await check_right(device, between, Truth(bundle))


async def test_a_damaged_frame_is_not_kept_and_the_older_one_is(
    device: Device, head: Head, bundle: Bundle
) -> None:
    film, truth = head.film("cut-16", frames=4), Truth(bundle)
    await check_right(device, film[1], truth)
    damaged = pb.Frame()
    damaged.CopyFrom(film[2])
    damaged.payloads[0].data = b"damaged"
    await device.send(frame=damaged)
    assert (await device.error()).code == pb.ERROR_CODE_BAD_FRAME
    await key_frame_needed(device, film[3])
    await check_right(device, film[2], truth)
    await check_right(device, film[3], truth)


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


async def test_a_tail_that_fails_does_not_take_the_reference_with_it(
    bundle: Bundle, config: ServiceConfig, tails: Mapping[str, Tail], head: Head
) -> None:
    class FailsOnce:
        provider = "FailingExecutionProvider"

        def __init__(self) -> None:
            self._fails = iter([True])

        def run(self, feeds):  # type: ignore[no-untyped-def]
            if next(self._fails, False):
                raise RuntimeError("once")
            return tails["cut"].run(dict(zip(names, feeds, strict=True)))

    names = tails["cut"].cut.tensors[0].feeds
    film, truth = head.film("cut-16", frames=3), Truth(bundle)
    with answering(bundle.manifest, {"input": tails["input"], "cut": FailsOnce()}) as answerer:
        async with (
            listening(config, bundle, answerer) as service,
            connected(service.address) as device,
        ):
            await device.hello(bundle.fingerprint)
            await device.send(frame=film[1])
            assert (await device.error()).code == pb.ERROR_CODE_INTERNAL
            truth.of(film[1])
            await check_right(device, film[2], truth)
