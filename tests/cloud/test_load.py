"""What the service tells of its load."""

import asyncio

from tests.cloud.device import GUARD_S, Head
from tests.cloud.gated import GatedTail
from tests.cloud.serving import Answers
from tests.cloud.wire import settled, until

from isthmus_cloud import StreamMemory
from isthmus_cloud.answering.load import LoadGauge


def test_an_idle_service_lets_nobody_wait() -> None:
    gauge = LoadGauge(workers=1)
    gauge.learn(10)
    assert gauge.queue_ms == 0


def test_each_frame_ahead_costs_one_turn() -> None:
    gauge = LoadGauge(workers=1)
    gauge.learn(10)
    gauge.came()
    assert gauge.queue_ms == 10
    gauge.came()
    gauge.came()
    assert gauge.queue_ms == 30
    for _ in range(3):
        gauge.left()
    assert gauge.queue_ms == 0


def test_workers_share_the_turns() -> None:
    gauge = LoadGauge(workers=2)
    gauge.learn(10)
    gauge.came()
    assert gauge.queue_ms == 0
    gauge.came()
    gauge.came()
    assert gauge.queue_ms == 10


def test_later_frames_move_the_estimate() -> None:
    gauge = LoadGauge(workers=1)
    for _ in range(50):
        gauge.learn(10)
    gauge.learn(20)
    gauge.came()
    assert 10 < gauge.queue_ms < 20


async def test_a_frame_that_is_given_up_while_it_runs_counts_until_its_worker_is_free(
    answerer: Answers, gate: GatedTail, head: Head
) -> None:
    answering = asyncio.create_task(answerer.answer(head.frame("cut-16"), 1, 0, StreamMemory()))
    await gate.begun()
    answering.cancel()
    await asyncio.wait({answering})
    quiet = asyncio.create_task(answerer.quiet())
    await settled()
    assert not quiet.done()
    gate.let_pass()
    await asyncio.wait_for(quiet, GUARD_S)
    again = asyncio.create_task(answerer.answer(head.frame("cut-16"), 1, 0, StreamMemory()))
    await gate.begun()
    assert answerer.load().queue_ms > 0  # how long the first one took is known
    gate.let_pass()
    await again


async def test_a_frame_that_is_given_up_in_the_queue_counts_no_more(
    answerer: Answers, gate: GatedTail, head: Head
) -> None:
    running, queued = (
        asyncio.create_task(answerer.answer(head.frame("cut-16"), 1, 0, StreamMemory()))
        for _ in range(2)
    )
    await gate.begun()
    assert answerer.load().frames_waiting == 1
    queued.cancel()
    await until(lambda: answerer.load().frames_waiting == 0)
    gate.let_pass()
    await running
    await asyncio.wait_for(answerer.quiet(), GUARD_S)
