"""Differences are added to the right frame, or a key frame is asked for."""

import asyncio
from collections.abc import Mapping

import pytest
from tests.cloud.device import Device, Head, Truth, connected
from tests.cloud.far_gate import FarGate
from tests.cloud.films import check_result, check_right, key_frame_needed
from tests.cloud.serving import answering, listening

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService, ServiceConfig
from isthmus_cloud.answering.parts import Tail


@pytest.mark.parametrize("candidate", ["cut-256", "cut-16"])
async def test_four_workers_keep_the_order_of_each_stream(
    config: ServiceConfig, head: Head, bundle: Bundle, tails: Mapping[str, Tail], candidate: str
) -> None:
    """Every frame is a difference to the one before: one out of order and all after it are lost."""
    frames = 60

    async def stream(address: str, seed: int) -> set[int]:
        film, truth = head.film(candidate, frames, seed), Truth(bundle)
        assert sum(frame.reference > 0 for frame in film) >= frames - 3
        expected = {frame.sequence: truth.of(frame) for frame in film}
        answered = set()
        async with connected(address) as device:
            window = (await device.hello(bundle.fingerprint)).welcome.window
            for frame in film[:2]:  # what comes then refers to the second, wherever that is kept
                await device.send(frame=frame)
                answered.add(await check_result(device, expected))
            for frame in film[2 : window + 2]:
                await device.send(frame=frame)
            for index in range(2, frames):
                answered.add(await check_result(device, expected))
                if index + window < frames:
                    await device.send(frame=film[index + window])
        return answered

    with answering(bundle.manifest, tails, workers=4) as answerer:
        async with listening(config, bundle, answerer) as service:
            answered = await asyncio.gather(*(stream(service.address, seed) for seed in range(3)))
    assert answered == [set(range(1, frames + 1))] * 3


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
    """Be it of the same device, later."""
    film, truth = head.film("cut-16", frames=3), Truth(bundle)
    await check_right(device, film[1], truth)
    async with connected(service.address) as other:
        await other.hello(bundle.fingerprint)
        await key_frame_needed(other, film[2])
    await check_right(device, film[2], truth)
    device.call.cancel()
    async with connected(service.address) as again:
        await again.hello(bundle.fingerprint, session_id=device.session_id)
        await key_frame_needed(again, film[2])


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


async def test_a_tail_that_fails_does_not_take_the_reference_with_it(
    device: Device, gate: FarGate, head: Head, bundle: Bundle
) -> None:
    film, truth = head.film("cut-16", frames=3), Truth(bundle)
    gate.fail()
    await device.send(frame=film[1])
    assert (await device.error()).code == pb.ERROR_CODE_INTERNAL
    truth.of(film[1])
    gate.open_for_good()
    await check_right(device, film[2], truth)
