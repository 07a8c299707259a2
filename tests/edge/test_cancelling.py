"""Who takes his frame back: what is not begun is not computed, and each frame still ends once."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import TypeVar

import pytest
from tests.commands import until
from tests.tinybundle import tiny_pictures

from isthmus_edge import Agent, AgentConfig, Answer
from isthmus_edge.device.calloff import CallOff

Result = TypeVar("Result")

PATIENT = 20.0
PICTURES = tiny_pictures(4)


class Gate:
    """A device that begins nothing until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.pieces = 0

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        self.pieces += 1
        self.begun.release()
        assert self.let_go.wait(PATIENT), kind
        return work(), 1.0


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def agent(tiny_bundle: Path, gate: Gate) -> Iterator[Agent]:
    with Agent.open(AgentConfig(bundle=tiny_bundle), pace=gate) as agent:
        yield agent
        gate.let_go.set()


@pytest.fixture
def first(agent: Agent, gate: Gate) -> "Future[Answer]":
    """The device has begun it, and stands at the gate."""
    first = agent.submit(PICTURES[0])
    assert gate.begun.acquire(timeout=PATIENT)
    return first


async def accepted(agent: Agent, count: int) -> None:
    while agent.stats().accepted < count:  # noqa: ASYNC110 - it happens on another thread
        await asyncio.sleep(0)


def test_a_frame_that_is_taken_back_in_time_is_not_computed(
    agent: Agent, gate: Gate, first: "Future[Answer]"
) -> None:
    second, third = (agent.submit(picture) for picture in PICTURES[1:3])
    assert second.cancel()
    until(lambda: agent.stats().cancelled == 1, "the frame is taken back")
    gate.let_go.set()
    assert (first.result(PATIENT).sequence, third.result(PATIENT).sequence) == (1, 3)
    with pytest.raises(CancelledError):
        second.result()
    agent.close()
    stats = agent.stats()
    assert (stats.accepted, stats.answered_device, stats.errors, stats.cancelled) == (3, 2, 1, 1)
    assert (stats.pending, stats.ended_twice, gate.pieces) == (0, 0, 2)


def test_its_place_is_free_at_once(agent: Agent, gate: Gate, first: "Future[Answer]") -> None:
    """Two may wait for the device: without the place the last `submit` would hang."""
    second, _ = (agent.submit(picture) for picture in PICTURES[1:3])
    second.cancel()
    third = agent.submit(PICTURES[3])
    gate.let_go.set()
    assert third.result(PATIENT).sequence == 4


def test_what_the_device_has_begun_goes_on_unheard(
    agent: Agent, gate: Gate, first: "Future[Answer]"
) -> None:
    assert first.cancel()
    assert agent.stats().pending == 1
    gate.let_go.set()
    agent.close()
    stats = agent.stats()
    assert (stats.answered_device, stats.cancelled, stats.ended_twice) == (1, 0, 0)
    assert first.cancelled()


def test_cancelling_after_the_end_changes_nothing(agent: Agent, gate: Gate) -> None:
    gate.let_go.set()
    answered = agent.submit(PICTURES[0])
    answered.result(PATIENT)
    assert not answered.cancel()
    agent.close()
    assert (agent.stats().answered_device, agent.stats().cancelled) == (1, 0)


async def test_an_asynchronous_caller_who_is_cancelled_takes_his_frame_back(
    agent: Agent, gate: Gate, first: "Future[Answer]"
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await agent.infer_async(PICTURES[1])
    until(lambda: agent.stats().cancelled == 1, "the frame is taken back")
    gate.let_go.set()
    await asyncio.wrap_future(first)


async def test_who_is_cancelled_while_he_waits_for_a_place_hands_nothing_in(
    agent: Agent, gate: Gate, first: "Future[Answer]"
) -> None:
    waiting = [asyncio.create_task(agent.infer_async(PICTURES[1])) for _ in range(4)]
    await accepted(agent, 3)
    for task in waiting[2:]:
        task.cancel()
    await asyncio.wait(waiting[2:])
    gate.let_go.set()
    answers = await asyncio.gather(*waiting[:2])
    assert [answer.sequence for answer in answers] == [2, 3]
    assert (await agent.infer_async(PICTURES[2])).sequence == 4
    assert agent.stats().cancelled == 0


async def test_who_waits_for_a_place_learns_that_the_agent_was_closed(
    agent: Agent, gate: Gate, first: "Future[Answer]"
) -> None:
    waiting = [asyncio.create_task(agent.infer_async(PICTURES[1])) for _ in range(6)]
    await accepted(agent, 3)
    closing = asyncio.create_task(asyncio.to_thread(agent.close, 0.0))
    async with asyncio.timeout(PATIENT):
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        gate.let_go.set()
        await closing
    assert {type(end).__name__ for end in ends} == {"AgentClosedError"}


def test_an_answer_that_is_kept_does_not_keep_its_frame(tiny_bundle: Path) -> None:
    """Thousands of futures in a list must not hold thousands of pictures."""
    with Agent(tiny_bundle) as agent:
        picture = PICTURES[0].copy()
        gone = weakref.ref(picture)
        kept = agent.submit(picture)
        kept.result(PATIENT)
        agent.infer(PICTURES[1])
        del picture
        gc.collect()
        assert gone() is None
    assert kept.result().place == "device"
