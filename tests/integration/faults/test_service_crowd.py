"""A thousand devices at once, and one that never reads: others are served beside them."""

import asyncio
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.commands import PATIENCE_S, until
from tests.integration.faults.processes import MARGIN_BYTES, CountedCloud
from tests.integration.faults.raw_device import RawDevice
from tests.integration.faults.service_devices import ALONE, CAMERA, fleet
from tests.integration.faults.service_frames import Frames
from tests.integration.faults.tally import Count, Tally
from tests.integration.faults.traffic import WINDOW

from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitStub

CROWD, PLACES = 1000, 900
MANY = 200_000  # frames: more than flow control lets out to a service that does not read
BUSY = [CAMERA] * 2  # devices that are served meanwhile


@pytest.fixture(scope="module")
def frames(tiny_bundle: Path) -> Frames:
    return Frames(tiny_bundle)


@pytest.fixture
def open_files() -> Iterator[None]:
    """Enough of them for a crowd in this process."""
    before, needed = resource.getrlimit(resource.RLIMIT_NOFILE), 2 * CROWD
    if before[1] != resource.RLIM_INFINITY and before[1] < needed:
        pytest.skip(f"this system gives a process {before[1]} files, fewer than the crowd needs")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], needed), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Crowd:
    """Devices with one frame each; those that were served stay until all have heard."""

    def __init__(self, address: str, frames: Frames) -> None:
        self._address = address
        self._frames = frames
        self._heard = asyncio.Barrier(CROWD)
        self.ends: Counter[str] = Counter()

    async def come(self) -> None:
        """All at once."""
        async with asyncio.timeout(2 * PATIENCE_S):
            await asyncio.gather(*(self._visit(number) for number in range(CROWD)))

    async def _visit(self, number: int) -> None:
        made = self._frames.plain[number % len(self._frames.plain)]
        hello = pb.Hello(
            protocol=PROTOCOL,
            session_id=f"crowd-{number}",
            bundle_fingerprint=self._frames.fingerprint,
        )
        async with grpc.aio.insecure_channel(self._address, ALONE) as channel:
            call = SplitStub(channel).Stream()  # type: ignore[no-untyped-call]
            await call.write(pb.EdgeMessage(hello=hello))
            message = await call.read()
            if message.HasField("welcome"):
                await call.write(pb.EdgeMessage(frame=made.numbered(1)))
                while not (message := await call.read()).HasField("result"):
                    assert message.HasField("heartbeat"), message
                assert self._frames.is_right(message.result, made)
            self.ends[_end_of(message)] += 1
            await self._heard.wait()
            if message.HasField("result"):
                await call.write(pb.EdgeMessage(heartbeat=pb.Heartbeat(id=1, settled_through=1)))
                await call.done_writing()
            while await call.read() is not grpc.aio.EOF:
                pass


def _end_of(message: pb.CloudMessage) -> str:
    if message.HasField("result"):
        return "result"
    assert message.error.sequence == 0, message
    return pb.ErrorCode.Name(message.error.code)


@pytest.mark.fault("service: 1,000 connections at once")
@pytest.mark.usefixtures("open_files")
async def test_of_a_thousand_devices_at_once_each_is_answered_or_refused(
    tiny_bundle: Path, frames: Frames, count: Count
) -> None:
    with CountedCloud(tiny_bundle, "127.0.0.1:0", "--max-streams", PLACES) as cloud:
        crowd = Crowd(cloud.address, frames)
        async with fleet(cloud.address, frames, BUSY) as ships:
            await ships.answered(5 * WINDOW)
            await crowd.come()
            await ships.answered(5 * WINDOW)
        served = PLACES - len(BUSY)
        errors = CROWD - served
        tally = ships.tally()
        count(tally + Tally(CROWD, crowd.ends["result"], 0, crowd.ends.total() - served))
        await asyncio.to_thread(
            until, lambda: cloud.holds_only(sessions=0), "the service holds nothing"
        )
        assert cloud.counts().streams == 0
    assert crowd.ends == {"result": served, "ERROR_CODE_OVERLOADED": errors}
    assert tally.balances, tally
    assert tally.errors == 0


@pytest.mark.fault("service: client that never reads")
async def test_what_is_held_for_a_device_that_never_reads_is_freed_while_others_are_served(
    tiny_bundle: Path, frames: Frames, count: Count
) -> None:
    flags = ("--idle-s", 2, "--resume-s", 0.5)
    with CountedCloud(tiny_bundle, "127.0.0.1:0", *flags) as cloud:
        async with fleet(cloud.address, frames, BUSY) as ships:
            await ships.answered(5 * WINDOW)
            cloud.note_level()
            before = cloud.counts()
            with RawDevice(cloud.address, "deaf", frames.fingerprint) as deaf:
                deaf.flood(frames.plain[0].frame, MANY)
                seen = [before]
                for sessions in (len(BUSY) + 1, len(BUSY)):  # it comes, and is given up
                    while seen[-1].sessions != sessions:
                        await ships.answered(1)
                        seen.append(await asyncio.to_thread(cloud.counts))
                assert await asyncio.to_thread(deaf.taken_until_stuck) < MANY
                while (await asyncio.to_thread(cloud.counts)).streams != len(BUSY):
                    await ships.answered(1)  # its stream is ended, though it holds its connection
        tally = ships.tally()
        count(tally)
        cloud.assert_at_level(sessions=0)
        end = cloud.counts()
    assert max(each.rss_bytes for each in seen) < before.rss_bytes + MARGIN_BYTES
    assert tally.balances, tally
    assert tally.errors == 0
    assert end.ended["answered"] > tally.cloud
    assert end.answering == end.ended["answered"] + end.ended.get("cancelled", 0)
