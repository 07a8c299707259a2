"""A desk whose tails are run elsewhere, and what happens while nothing can be begun there."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.cloud.device import GUARD_S, Head
from tests.cloud.gated import ANSWER
from tests.cloud.wire import until

from isthmus import Bundle, LinkError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Answerer, Batching, Desk, OverloadedError, StreamMemory, TooLateError
from isthmus_cloud.answering.elsewhere import Ending
from isthmus_cloud.answering.flow import Joining, Ran
from isthmus_cloud.answering.jobs import Job
from isthmus_cloud.answering.parts import Tail


class FakeElsewhere:
    """Begins nothing until it is free, then answers every batch once it is `let_pass`."""

    replicas = 2
    at_once = 2

    def __init__(self) -> None:
        self.is_free = False
        self.under_way = 0
        self.sizes: list[int] = []
        self.error: Exception | None = None
        self.passes = threading.Event()
        self.passes.set()

    def begin(self, jobs: Sequence[Job]) -> None:
        self.under_way += 1

    def end(self) -> None:
        self.under_way -= 1

    def run(
        self, jobs: Sequence[Job], joining: Joining[Job], ran: Ran[Job]
    ) -> Iterator[Sequence[Ending]]:
        self.sizes.append(len(jobs))
        assert self.passes.wait(GUARD_S)
        for job in jobs:
            if self.error is not None and job is jobs[-1]:
                raise self.error
            job.outputs = {spec.name: ANSWER for spec in job.tail.outputs}
            job.begun_ns = job.decoded_ns = time.monotonic_ns()
            job.batch = len(jobs)
            yield [(job, None)]


@pytest.fixture
def far() -> FakeElsewhere:
    return FakeElsewhere()


@pytest.fixture
async def desk(far: FakeElsewhere) -> AsyncIterator[Desk]:
    with Desk(batching=Batching(workers=2, joins=False)) as desk:
        yield desk
        far.passes.set()
    assert (desk.bytes_in_flight, desk.waiting, far.under_way) == (0, 0, 0)


class Device:
    """Sends frames of whatever cut."""

    def __init__(self, answerer: Answerer, head: Head) -> None:
        self._answerer = answerer
        self._head = head
        self._sequence = 0

    def send(self, candidate: str = "cut-16", deadline_ms: int = 0) -> "asyncio.Future[pb.Result]":
        self._sequence += 1
        frame = self._head.frame(candidate, self._sequence)
        frame.deadline_ms = deadline_ms
        return self._answerer.begin(frame, time.monotonic_ns(), 0, StreamMemory(), object())


@pytest.fixture
def device(
    bundle: Bundle, desk: Desk, tails: Mapping[str, Tail], far: FakeElsewhere, head: Head
) -> Device:
    """Of a service whose tail "cut" is elsewhere, and "input" here."""
    mixed = {"input": tails["input"], "cut": replace(tails["cut"], elsewhere=far)}
    return Device(Answerer(bundle.manifest, mixed, desk), head)


async def results(*futures: "asyncio.Future[pb.Result]") -> list[int]:
    async with asyncio.timeout(GUARD_S):
        return [(await future).sequence for future in futures]


async def test_frames_gather_until_a_batch_can_be_begun(
    device: Device, desk: Desk, far: FakeElsewhere
) -> None:
    futures = [device.send() for _ in range(5)]
    here = device.send("input-raw")  # whose tail is here
    assert await results(here) == [6]
    assert (far.sizes, desk.waiting, desk.load().frames_waiting) == ([], 5, 5)
    far.is_free = True
    assert await results(*futures) == [1, 2, 3, 4, 5]
    assert far.sizes == [5]


async def test_a_frame_that_cannot_be_begun_ends_at_its_deadline(
    device: Device, desk: Desk, far: FakeElsewhere
) -> None:
    patient = device.send()
    taken_bytes = desk.bytes_in_flight
    hasty = device.send(deadline_ms=1)
    with pytest.raises(TooLateError, match="deadline passed"):
        await results(hasty)
    assert (desk.waiting, desk.bytes_in_flight) == (1, taken_bytes)
    far.is_free = True
    assert await results(patient) == [1]
    assert far.sizes == [1]


async def test_a_frame_that_is_under_way_ends_at_its_deadline_and_only_then(
    device: Device, desk: Desk, far: FakeElsewhere
) -> None:
    """Its bytes are counted until the batch is back, whose other frames are answered."""
    far.passes.clear()
    futures = [device.send(), device.send(deadline_ms=50)]
    far.is_free = True
    await until(lambda: far.sizes == [2])
    with pytest.raises(TooLateError, match="deadline passed"):
        await results(futures[1])
    assert not futures[0].done()
    assert desk.bytes_in_flight > 0
    far.passes.set()
    assert await results(futures[0]) == [1]


async def test_every_frame_of_a_batch_that_breaks_down_ends_and_the_worker_goes_on(
    device: Device, far: FakeElsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    far.error = LinkError("nobody has foreseen this")
    futures = [device.send() for _ in range(3)]
    far.is_free = True
    assert await results(*futures[:2]) == [1, 2]
    with pytest.raises(LinkError, match="foreseen"):
        await results(futures[2])
    assert "a worker failed on a batch of 3" in caplog.text
    far.error = None
    assert await results(device.send()) == [4]


async def test_what_waits_when_the_service_ends_is_told_so(device: Device, desk: Desk) -> None:
    futures = [device.send() for _ in range(3)]
    desk.close()
    for future in futures:
        with pytest.raises(OverloadedError, match="the service ends"):
            await results(future)


async def test_a_frame_that_nobody_wants_any_more_is_not_begun(
    device: Device, desk: Desk, far: FakeElsewhere
) -> None:
    unwanted, wanted = device.send(), device.send()
    unwanted.cancel()
    await until(lambda: desk.waiting == 1)
    far.is_free = True
    assert await results(wanted) == [2]
    assert far.sizes == [1]


async def test_an_answer_from_elsewhere_is_an_answer(device: Device, far: FakeElsewhere) -> None:
    far.is_free = True
    result = await device.send()
    assert np.frombuffer(result.outputs[0].payload, np.float32).tolist() == ANSWER[0].tolist()
    assert result.timing.batch == 1
