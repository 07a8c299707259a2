"""Streams of frames: in order, never further ahead than wanted, and left without a trace."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.tinybundle import tiny_pictures

from isthmus import AgentClosedError, ConfigError, WireError
from isthmus_edge import Agent, Answers
from isthmus_edge.testing import FakeCloud

PICTURES = tiny_pictures(12)
GUARD_S = 20.0

Pixels = NDArray[np.uint8]


@pytest.fixture
def cloud(tiny_bundle: Path) -> Iterator[FakeCloud]:
    with FakeCloud(tiny_bundle) as cloud:
        yield cloud


@pytest.fixture
def agent(tiny_bundle: Path, cloud: FakeCloud) -> Iterator[Agent]:
    """It waits for the cloud longer than any test lasts."""
    with Agent(tiny_bundle, cloud, candidate="cut-16", patience_ms=6e4, silence_s=GUARD_S) as agent:
        yield agent


class Camera:
    """Counts the pictures that were asked for, in either way."""

    def __init__(self, count: int = len(PICTURES)) -> None:
        self._left = list(PICTURES[:count])
        self.asked = 0

    def __iter__(self) -> Iterator[Pixels]:
        while self._left:
            self.asked += 1
            yield self._left.pop(0)

    async def __aiter__(self) -> AsyncIterator[Pixels]:
        for picture in iter(self):
            await asyncio.sleep(0)
            yield picture


class Awaited:
    """The same, for `async for` only."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera

    def __aiter__(self) -> AsyncIterator[Pixels]:
        return self._camera.__aiter__()


async def until(has_happened: Callable[[], bool]) -> None:
    """It happens on other threads, or in other tasks."""
    while not has_happened():  # noqa: ASYNC110 - what is awaited sets no event of ours
        await asyncio.sleep(0)


async def read(answers: Answers, into: list[int]) -> None:
    async for answer in answers:
        into.append(answer.sequence)  # noqa: PERF401 - what came before an error counts too


def nothing_is_lost(agent: Agent) -> bool:
    agent.close()
    stats = agent.stats()
    ends = stats.answered_cloud + stats.answered_device + stats.errors
    return stats.accepted == ends and (stats.pending, stats.ended_twice) == (0, 0)


@pytest.mark.parametrize("kind", ["list", "awaited"])
async def test_answers_come_in_order_from_frames_of_either_kind(agent: Agent, kind: str) -> None:
    frames = PICTURES if kind == "list" else Awaited(Camera())
    async with asyncio.timeout(GUARD_S):
        answers = [answer async for answer in agent.stream(frames)]
    assert [answer.sequence for answer in answers] == list(range(1, len(PICTURES) + 1))
    assert nothing_is_lost(agent)


async def test_what_is_yielded_is_the_answer_to_its_frame(tiny_bundle: Path) -> None:
    async with Agent(tiny_bundle) as agent:
        expected = [agent.infer(picture).top(3) for picture in PICTURES]
        async with asyncio.timeout(GUARD_S):
            assert [answer.top(3) async for answer in agent.stream(Camera())] == expected


async def test_frames_that_come_asynchronously_are_not_for_a_plain_loop(agent: Agent) -> None:
    with pytest.raises(ConfigError, match="read with `async for`"):
        next(agent.stream(Awaited(Camera())))
    assert agent.stats().accepted == 0


@pytest.mark.parametrize("frames", [None, "photos", b"jpeg", {"picture": 1}, Path("photos")])
def test_what_is_one_frame_or_none_is_no_stream(agent: Agent, frames: object) -> None:
    with pytest.raises(ConfigError, match=r"frames = .*: give an iterable of frames"):
        agent.stream(frames)  # type: ignore[arg-type]


async def test_a_stream_is_read_in_one_way(agent: Agent) -> None:
    answers = agent.stream(PICTURES)
    next(answers)
    with pytest.raises(ConfigError, match="with `for` already"):
        await anext(answers)
    answers.close()
    others = agent.stream(PICTURES)
    await anext(others)
    with pytest.raises(ConfigError, match="with `async for` already"):
        next(others)
    await others.aclose()


def test_no_frame_is_asked_for_before_there_is_a_place(agent: Agent, cloud: FakeCloud) -> None:
    camera = Camera()
    with closing(agent.stream(camera, ahead=3)) as answers:
        for unread in range(1, 5):
            next(answers)
            assert camera.asked <= unread + 3


async def test_no_frame_is_asked_for_while_answers_are_not_read(agent: Agent) -> None:
    camera = Camera()
    async with asyncio.timeout(GUARD_S), aclosing(agent.stream(Awaited(camera), ahead=3)) as got:
        await anext(got)
        await until(lambda: camera.asked == 4)
        for _ in range(100):
            await asyncio.sleep(0)
        assert camera.asked == 4


def test_the_first_answer_waits_for_no_more_frames_than_it_takes_time(agent: Agent) -> None:
    """A camera that takes its time: each answer is there before all that are wanted ahead."""

    def slow() -> Iterator[Pixels]:
        for picture in PICTURES:
            while agent.stats().pending:
                pass
            yield picture

    answers = agent.stream(slow(), ahead=len(PICTURES))
    assert max(agent.stats().accepted - answer.sequence for answer in answers) <= 2


def test_an_answer_waits_for_no_frame_that_is_slow_to_come(agent: Agent) -> None:
    is_read = threading.Event()

    def slow() -> Iterator[Pixels]:
        yield PICTURES[0]
        assert is_read.wait(GUARD_S)
        yield PICTURES[1]

    answers = agent.stream(slow())
    assert next(answers).sequence == 1
    is_read.set()
    assert [answer.sequence for answer in answers] == [2]


def test_who_leaves_a_loop_has_his_source_for_himself(agent: Agent) -> None:
    is_asked, may_come = threading.Event(), threading.Event()

    def slow() -> Iterator[Pixels]:
        yield PICTURES[0]
        is_asked.set()
        assert may_come.wait(GUARD_S)
        yield PICTURES[1]

    source = slow()
    answers = agent.stream(source)
    next(answers)
    assert is_asked.wait(GUARD_S)
    leaving = threading.Thread(target=answers.close)
    leaving.start()
    leaving.join(0.05)
    assert leaving.is_alive()
    may_come.set()
    leaving.join()
    assert list(source) == []
    assert agent.stats().accepted in {1, 2}
    assert nothing_is_lost(agent)


def test_leaving_a_loop_takes_back_what_is_not_begun(agent: Agent, cloud: FakeCloud) -> None:
    """Four are held in the cloud, two wait for the device, one for its place in the queue."""
    is_held = threading.Event()

    def frames() -> Iterator[Pixels]:
        yield PICTURES[0]
        assert is_held.wait(GUARD_S)
        yield from PICTURES[1:]

    with closing(agent.stream(frames(), ahead=8)) as answers:
        next(answers)
        cloud.hold()
        is_held.set()
        while agent.stats().pending < 6:
            pass
    while agent.stats().cancelled < 2 or "isthmus-frames" in names_of_threads():
        pass
    cloud.release()
    assert nothing_is_lost(agent)
    assert len(cloud.received) == 5


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


async def test_the_callers_loop_goes_on_while_a_source_blocks_and_a_frame_waits(
    agent: Agent, cloud: FakeCloud
) -> None:
    may_come = threading.Event()

    def blocking() -> Iterator[Pixels]:
        yield PICTURES[0]
        assert may_come.wait(GUARD_S)
        yield PICTURES[1]

    cloud.hold()
    async with asyncio.timeout(GUARD_S):
        reading = asyncio.create_task(anext(answers := agent.stream(blocking())))
        await until(lambda: len(cloud.received) == 1)
        cloud.release()
        assert (await reading).sequence == 1
        may_come.set()
        assert [answer.sequence async for answer in answers] == [2]


async def test_many_callers_who_wait_for_a_place_take_up_no_threads(
    agent: Agent, cloud: FakeCloud
) -> None:
    cloud.hold()
    before = threading.active_count()
    async with asyncio.timeout(GUARD_S):
        waiting = [asyncio.create_task(agent.infer_async(PICTURES[0])) for _ in range(40)]
        await until(lambda: bool(cloud.received))
        assert threading.active_count() == before
        cloud.release()
        assert {answer.place for answer in await asyncio.gather(*waiting)} == {"cloud"}


# Early ends


async def test_who_is_cancelled_takes_back_what_is_not_begun(
    agent: Agent, cloud: FakeCloud
) -> None:
    """Six frames: four are held in the cloud, two wait for the device."""
    cloud.hold()
    tasks_before = asyncio.all_tasks()
    async with asyncio.timeout(GUARD_S):
        reading = asyncio.create_task(read(agent.stream(Awaited(Camera()), ahead=6), []))
        await until(lambda: agent.stats().pending == 6)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await until(lambda: agent.stats().cancelled == 2)
        assert asyncio.all_tasks() == tasks_before
    cloud.release()
    assert nothing_is_lost(agent)
    assert (agent.stats().cancelled, len(cloud.received)) == (2, 4)


async def test_a_break_ends_the_reading_of_frames(agent: Agent) -> None:
    tasks_before = asyncio.all_tasks()
    camera = Camera()
    async with asyncio.timeout(GUARD_S):
        async for _ in agent.stream(Awaited(camera), ahead=2):
            break
        gc.collect()
        await until(lambda: asyncio.all_tasks() == tasks_before)
    assert camera.asked < len(PICTURES)
    assert nothing_is_lost(agent)


def test_a_source_that_never_comes_back_keeps_nobody_from_leaving(agent: Agent) -> None:
    never = threading.Event()

    def stuck() -> Iterator[Pixels]:
        yield PICTURES[0]
        never.wait(GUARD_S)

    async def read_one() -> int:
        async for answer in agent.stream(stuck()):
            return answer.sequence
        return 0

    assert asyncio.run(read_one()) == 1
    asking = [each for each in threading.enumerate() if each.name == "isthmus-frames"]
    assert [each.daemon for each in asking] == [True]
    never.set()
    assert nothing_is_lost(agent)


async def test_what_the_frames_raise_comes_behind_the_answers_before_it(agent: Agent) -> None:
    def breaking() -> Iterator[Pixels]:
        yield from PICTURES[:2]
        raise ZeroDivisionError("camera gone")

    async def breaking_later() -> AsyncIterator[Pixels]:
        for picture in breaking():
            yield picture

    got: list[int] = []
    with pytest.raises(ZeroDivisionError, match="camera gone"):
        got.extend(answer.sequence for answer in agent.stream(breaking()))
    assert got == [1, 2]
    for frames in (breaking(), breaking_later()):
        with pytest.raises(ZeroDivisionError, match="camera gone"):
            await read(agent.stream(frames), got)
    assert got == [1, 2, 3, 4, 5, 6]


async def test_a_frame_that_is_refused_says_so_in_its_turn(agent: Agent) -> None:
    frames: list[NDArray[np.generic]] = [PICTURES[0], np.zeros(3), PICTURES[1]]
    answers = agent.stream(frames)
    assert (await anext(answers)).sequence == 1
    with pytest.raises(WireError, match="picture"):
        await anext(answers)
    with pytest.raises(StopAsyncIteration):
        await anext(answers)


async def test_a_stream_hears_that_the_agent_was_closed(agent: Agent) -> None:
    answers = agent.stream(PICTURES)
    await anext(answers)
    await asyncio.to_thread(agent.close)
    with pytest.raises(AgentClosedError):
        await asyncio.wait_for(read(answers, []), GUARD_S)


async def test_deadline_and_candidate_hold_for_every_frame_of_a_stream(
    agent: Agent, cloud: FakeCloud
) -> None:
    async for _ in agent.stream(PICTURES[:3], deadline_ms=6e4, candidate="input-raw"):
        pass
    assert {received.candidate for received in cloud.received} == {"input-raw"}
    assert all(received.deadline_ms for received in cloud.received)
