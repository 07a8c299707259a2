"""Every frame is answered once, and rightly."""

import asyncio
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from tests.cloud.device import Device, Head, Truth, connected
from tests.cloud.far_gate import FarGate
from tests.cloud.films import is_right
from tests.cloud.serving import answering, listening
from tests.tinybundle import PROBABILITIES

from isthmus import Bundle, decode_answer
from isthmus_cloud import RunningService, ServiceConfig
from isthmus_cloud.answering.parts import Tail

CANDIDATES = ["input-raw", "input-jpeg-q95", "cut-256", "cut-16"]


@pytest.mark.parametrize("candidate", CANDIDATES)
async def test_an_answer_equals_the_tail_run_here(
    device: Device, head: Head, bundle: Bundle, candidate: str
) -> None:
    truth = Truth(bundle)
    for picture in range(4):
        frame = head.frame(candidate, sequence=picture + 1, picture=picture)
        await device.send(frame=frame)
        result = await device.result()
        assert result.sequence == picture + 1
        assert is_right(result, truth.of(frame))
        answer = decode_answer(result.outputs[0], PROBABILITIES)
        assert answer.argmax() == head.unsplit(picture).argmax()


async def test_the_cut_may_change_with_every_frame(device: Device, head: Head) -> None:
    for sequence, candidate in enumerate(CANDIDATES, 1):
        await device.send(frame=head.frame(candidate, sequence))
    answers = {}
    for _ in CANDIDATES:
        result = await device.result()
        answers[result.sequence] = decode_answer(result.outputs[0], PROBABILITIES).argmax()
    assert answers == dict.fromkeys(range(1, 5), head.unsplit().argmax())


async def test_top_k_sends_only_the_greatest_probabilities(
    service: RunningService, head: Head, bundle: Bundle
) -> None:
    async with connected(service.address) as device:
        await device.hello(bundle.fingerprint, top_k=3)
        await device.send(frame=head.frame("input-raw"))
        result = await device.result()
    assert len(result.outputs[0].payload) == 3 * 8
    answer = decode_answer(result.outputs[0], PROBABILITIES).reshape(-1)
    expected = head.unsplit().reshape(-1)
    best = np.argsort(expected)[::-1][:3]
    assert set(np.flatnonzero(np.isfinite(answer))) == set(best)
    assert np.allclose(answer[best], expected[best], rtol=1e-5)


async def test_a_result_says_what_it_cost(device: Device, head: Head) -> None:
    await device.send(frame=head.frame("cut-16"))
    result = await device.result()
    timing = result.timing
    assert timing.received_ns > 0
    assert min(timing.decode_ms, timing.run_ms, timing.queue_ms) > 0
    parts_ms = timing.queue_ms + timing.decode_ms + timing.run_ms
    assert timing.total_ms >= parts_ms * (1 - 1e-6)
    assert (timing.batch, result.load.frames_waiting) == (1, 0)


async def test_many_frames_of_many_devices_are_each_answered_once(
    config: ServiceConfig, head: Head, bundle: Bundle, tails: Mapping[str, Tail]
) -> None:
    labels = [int(head.unsplit(picture).argmax()) for picture in range(8)]

    async def stream(address: str) -> Counter[int]:
        answered: Counter[int] = Counter()
        async with connected(address) as device:
            await device.hello(bundle.fingerprint, top_k=1)
            for sequence in range(1, 41):
                if sequence > config.window:
                    answered[await take(device)] += 1
                candidate = CANDIDATES[sequence % len(CANDIDATES)]
                await device.send(frame=head.frame(candidate, sequence, picture=sequence % 8))
            for _ in range(config.window):
                answered[await take(device)] += 1
            await device.half_close()
            await device.ended()
        return answered

    async def take(device: Device) -> int:
        result = await device.result()
        answer = decode_answer(result.outputs[0], PROBABILITIES)
        assert answer.argmax() == labels[result.sequence % 8]
        return result.sequence

    with answering(bundle.manifest, tails, workers=3) as answerer:
        async with listening(config, bundle, answerer) as service:
            counts = await asyncio.gather(*(stream(service.address) for _ in range(4)))
    assert counts == [dict.fromkeys(range(1, 41), 1)] * 4


async def test_frames_of_all_devices_and_cuts_that_wait_run_together(
    service: RunningService, device: Device, gate: FarGate, head: Head, bundle: Bundle
) -> None:
    """Each gets its own answer."""
    await device.send(frame=head.frame("cut-16"))
    await gate.begun()
    async with connected(service.address) as one, connected(service.address) as two:
        others = [(one, 1), (two, 5)]
        expected: dict[int, np.ndarray] = {}
        for other, first in others:
            await other.hello(bundle.fingerprint)
            for number, candidate in enumerate(("cut-16", "input-raw", "cut-256")):
                frame = head.frame(candidate, first + number, first + number)
                expected[frame.sequence] = Truth(bundle).of(frame)
                await other.send(frame=frame)
            await other.roundtrip()
        gate.open_for_good()
        for other, first in others:
            results = [await other.result() for _ in range(3)]
            assert {result.sequence for result in results} == set(range(first, first + 3))
            assert all(is_right(result, expected[result.sequence]) for result in results)
            assert {result.timing.batch for result in results} == {6}
    assert gate.runs == [1, 6]
