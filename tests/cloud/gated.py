"""Fake tails."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
from tests.cloud.device import GUARD_S
from tests.tinybundle import CLASSES

from isthmus_cloud.answering.feeds import AnyArray

ANSWER = np.arange(CLASSES, dtype=np.float32).reshape(1, CLASSES)


class GatedTail:
    """Holds each frame until the test lets it pass; counts those that were begun."""

    provider = "GatedExecutionProvider"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._gate = threading.Semaphore(0)
        self._begun: asyncio.Queue[None] = asyncio.Queue()
        self._stays_open = False
        self.runs = 0

    async def begun(self) -> None:
        """Wait until one more frame stands at the gate."""
        async with asyncio.timeout(GUARD_S):
            await self._begun.get()

    def let_pass(self, frames: int = 1) -> None:
        self._gate.release(frames)

    def open_for_good(self) -> None:
        self._stays_open = True
        self._gate.release(1)

    def run(self, feeds: Sequence[AnyArray]) -> Sequence[AnyArray]:
        self.runs += 1
        self._loop.call_soon_threadsafe(self._begun.put_nowait, None)
        if not self._gate.acquire(timeout=GUARD_S):
            raise TimeoutError("the test never opened the gate")
        if self._stays_open:
            self._gate.release()
        return [ANSWER]


class BrokenTail:
    """Fails with a message that no device may ever read."""

    provider = "BrokenExecutionProvider"

    def run(self, feeds: Sequence[AnyArray]) -> Sequence[AnyArray]:
        raise RuntimeError("secret of the house")
