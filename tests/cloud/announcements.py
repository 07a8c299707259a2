"""A whole service in this process, from its start to its end by a signal, and what it announces."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.cloud.device import GUARD_S

from isthmus_cloud import ServiceConfig, serve


class Announcements:
    """The lines of a service that runs in the background."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, line: str) -> None:
        self._loop.call_soon_threadsafe(self._lines.put_nowait, line)

    async def line(self, word: str) -> str:
        """The next line that begins with `word`, or has it in it."""
        async with asyncio.timeout(GUARD_S):
            while True:
                line = await self._lines.get()
                if word in line:
                    return line


@dataclass(frozen=True)
class Whole:
    """Where a service is, and its page ("" without one)."""

    address: str
    page: str
    announced: Announcements


@asynccontextmanager
async def whole(config: ServiceConfig) -> AsyncIterator[Whole]:
    """A service, as long as the context lasts; it is told to end by SIGTERM."""
    announced = Announcements()
    serving = asyncio.create_task(serve(config, announced))
    page = ""
    if config.web is not None:
        page = (await announced.line("the dashboard is on ")).split()[-1]
    address = (await announced.line("listening on ")).split()[2]
    try:
        yield Whole(address, page, announced)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(GUARD_S):
            await serving
