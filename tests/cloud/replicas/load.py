"""Devices that ask one frame after the other, each of which has exactly one outcome."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray
from tests.cloud.device import Device, Head, Truth, connected
from tests.cloud.films import is_right
from tests.cloud.replicas.processes import START_S

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService

MORE = 10  # answers
PAUSE_S = 0.02  # between a device's frames, so that replicas that start are given a core, too

__all__ = ["Load", "answered", "asked", "further", "loaded"]


async def asked(device: Device, frame: pb.Frame) -> pb.CloudMessage:
    """What becomes of a frame: the next message, which is about it."""
    await device.send(frame=frame)
    message = await device.receive()
    told = message.result if message.HasField("result") else message.error
    assert told.sequence == frame.sequence, message
    return message


async def answered(device: Device, frame: pb.Frame, expected: NDArray[np.float32]) -> int:
    """Ask until there is an answer, as a device does that is told to come again; how often it was
    refused."""
    refused = 0
    async with asyncio.timeout(START_S):
        while not (message := await asked(device, frame)).HasField("result"):
            assert message.error.code == pb.ERROR_CODE_OVERLOADED, message
            refused += 1
            frame.sequence += 1000
            await asyncio.sleep(message.error.retry_after_ms / 1e3)
    assert is_right(message.result, expected)
    return refused


class Load:
    """Counts answers by device, as long as they are wanted."""

    def __init__(self, head: Head, bundle: Bundle) -> None:
        self._head = head
        self._bundle = bundle
        self.answers: Counter[str] = Counter()
        self.is_wanted = True

    async def pictures(self, address: str, name: str) -> None:
        """Frames that stand for themselves, none of which may be refused."""
        async with connected(address) as device:
            await device.hello(self._bundle.fingerprint)
            for sequence in itertools.count(1):
                if not self.is_wanted:
                    return
                frame = self._head.frame("cut-256", sequence, sequence % 8)
                expected = Truth(self._bundle).of(frame)
                assert await answered(device, frame, expected) == 0, "a pure frame was refused"
                self.answers[name] += 1
                await asyncio.sleep(PAUSE_S)

    async def camera(self, address: str) -> None:
        """Frames that are differences; a film begins anew where the service asks for a key frame,
        which is counted, too."""
        sequences = itertools.count(1)
        async with connected(address) as device:
            await device.hello(self._bundle.fingerprint)
            while self.is_wanted:
                truth = Truth(self._bundle)
                for frame in self._head.film("cut-16", 20)[1:]:
                    frame.sequence = next(sequences)
                    message = await asked(device, frame)
                    if message.error.code == pb.ERROR_CODE_KEY_FRAME_NEEDED:
                        self.answers["key frames"] += 1
                        break
                    assert is_right(message.result, truth.of(frame))
                    self.answers["camera"] += 1
                    await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def loaded(service: RunningService, head: Head, bundle: Bundle) -> AsyncIterator[Load]:
    """Three devices and a camera, which have all been answered."""
    load = Load(head, bundle)
    async with asyncio.TaskGroup() as devices:
        for name in ("one", "two", "three"):
            devices.create_task(load.pictures(service.address, name))
        devices.create_task(load.camera(service.address))
        await further(load)
        yield load
        load.is_wanted = False


async def further(load: Load) -> None:
    """Until every device has some more answers."""
    wanted = {name: load.answers[name] + MORE for name in ("one", "two", "three", "camera")}
    async with asyncio.timeout(START_S):
        while any(load.answers[name] < count for name, count in wanted.items()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
