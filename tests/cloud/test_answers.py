"""Frames over real gRPC: every one is answered once, and rightly."""

import asyncio
from collections import Counter
from collections.abc import Mapping

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
        answer = decode_answer(result.outputs[0], PROBABILITIES)
        assert np.allclose(answer, truth.of(frame), rtol=1e-5, atol=1e-7)
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
    assert result.load.frames_waiting == 0


async def test_the_load_counts_the_frames_of_all_devices(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with connected(gated_service.address) as one, connected(gated_service.address) as two:
        await one.hello(bundle.fingerprint)
        await one.send(frame=head.frame("cut-16", 1))
        await gate.begun()
        for sequence in (2, 3):
            await one.send(frame=head.frame("cut-16", sequence))
        await one.roundtrip()
        welcome = (await two.hello(bundle.fingerprint)).welcome
        assert welcome.load.frames_waiting == 2


async def test_a_heartbeat_comes_back_without_its_padding(device: Device) -> None:
    heartbeats = [pb.Heartbeat(id=7, padding=b"x" * 1000), pb.Heartbeat(id=8)]
    for heartbeat in heartbeats:
        await device.send(heartbeat=heartbeat)
    first, second = (await device.receive()).heartbeat, (await device.receive()).heartbeat
    assert [first.id, second.id] == [7, 8]
    assert first.padding == b""
    assert 0 < first.received_ns <= second.received_ns


async def test_a_heartbeat_does_not_wait_for_frames(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with connected(gated_service.address) as device:
        await device.hello(bundle.fingerprint)
        await device.send(frame=head.frame("cut-256"))
        await gate.begun()
        await device.roundtrip()  # while the frame still stands at the gate
        gate.let_pass()
        assert (await device.result()).sequence == 1


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


async def test_frames_in_flight_are_answered_after_the_device_has_sent_its_last(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with connected(gated_service.address) as device:
        await device.hello(bundle.fingerprint)
        await device.send(frame=head.frame("cut-16", 1))
        await device.send(frame=head.frame("cut-16", 2))
        await device.half_close()
        gate.let_pass(2)
        assert {(await device.result()).sequence, (await device.result()).sequence} == {1, 2}
        await device.ended()
