"""The threads that run batches, whatever a batch does to them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.cloud.answering.frames import Jobs
from tests.cloud.device import Head

from isthmus import Bundle, ModelError
from isthmus_cloud.answering import workers as workers_module
from isthmus_cloud.answering.elsewhere import Ending
from isthmus_cloud.answering.flow import Joining, Ran
from isthmus_cloud.answering.jobs import Job
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.answering.workers import Batching, Workers

Way = Callable[[Sequence[Job]], Iterator[Sequence[Ending]]]


class Scripted:
    """An `Elsewhere` that runs batches as a test says; `frees` how often it says that it is free
    when it is asked, the last for ever."""

    replicas = at_once = 1

    def __init__(self, *ways: Way, frees: Sequence[bool] = (True,)) -> None:
        self._ways = list(ways)
        self._frees = list(frees)
        self.under_way = 0

    @property
    def is_free(self) -> bool:
        return self._frees.pop(0) if len(self._frees) > 1 else self._frees[0]

    def begin(self, jobs: Sequence[Job]) -> None:
        self.under_way += 1

    def end(self) -> None:
        self.under_way -= 1

    def run(
        self, jobs: Sequence[Job], joining: Joining[Job], ran: Ran[Job]
    ) -> Iterator[Sequence[Ending]]:
        return self._ways.pop(0)(jobs)


class Ended:
    """How frames have ended, in their order."""

    def __init__(self) -> None:
        self.all: list[Ending] = []
        self._changed = asyncio.Event()

    def __call__(self, job: Job, error: Exception | None) -> None:
        self.all.append((job, error))
        self._changed.set()

    async def reach(self, count: int) -> list[Ending]:
        async with asyncio.timeout(10):
            while len(self.all) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.all


@pytest.fixture
async def ended() -> Ended:
    return Ended()


@pytest.fixture
def run(ended: Ended, bundle: Bundle, tails: Mapping[str, Tail], head: Head) -> Iterator[Any]:
    """One worker, and frames whose tail is run by what the test says."""
    made: list[Workers] = []

    def run(elsewhere: Scripted, count: int, most: int = 8) -> list[Job]:
        there = {c: replace(tail, elsewhere=elsewhere, most=most) for c, tail in tails.items()}
        jobs = Jobs(bundle, there, head)
        frames = [jobs.job(client=str(number)) for number in range(count)]
        for job in frames:
            job.reply_of = lambda _: b""
        workers = Workers(Batching(workers=1), ended, lambda *_: None)
        made.append(workers)
        with workers._changed:  # or the first would be a batch by itself
            for job in frames:
                workers.put(job)
        return frames

    yield run
    for workers in made:
        workers.close(10)


def right(jobs: Sequence[Job]) -> Iterator[Sequence[Ending]]:
    yield [(job, None) for job in jobs]


def leave(_jobs: Sequence[Job]) -> Iterator[Sequence[Ending]]:
    raise SystemExit(3)


async def test_a_thread_survives_whatever_a_batch_raises(run: Any, ended: Ended) -> None:
    elsewhere = Scripted(leave, right)
    job, other = run(elsewhere, 2, most=1)
    (gone, error), (after, none) = await ended.reach(2)
    assert (gone, after, none) == (job, other, None)
    assert (type(error), str(error)) == (ModelError, "SystemExit(3)")


async def test_frames_that_have_ended_are_told_of_before_the_rest_of_their_batch(
    run: Any, ended: Ended
) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def one_by_one(jobs: Sequence[Job]) -> Iterator[Sequence[Ending]]:
        yield [(jobs[0], None)]
        waited = asyncio.run_coroutine_threadsafe(told.wait(), loop)
        assert waited.result(10)
        raise ValueError("a defect")

    first, second = run(Scripted(one_by_one), 2)
    assert await ended.reach(1) == [(first, None)]
    told.set()
    _, (job, error) = await ended.reach(2)
    assert (job, str(error)) == (second, "a defect")


async def test_what_is_not_free_any_more_when_a_batch_is_taken_is_asked_again(
    run: Any, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "LOOK_AGAIN_S", 0.001)
    elsewhere = Scripted(right, right, frees=[True, False, True])
    jobs = run(elsewhere, 1)
    assert await ended.reach(1) == [(jobs[0], None)]
