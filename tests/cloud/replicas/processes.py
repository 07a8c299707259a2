"""The processes of a Ray that this one has started."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import psutil

START_S = 120.0  # a hang becomes a failure; no test waits for it to pass
REPLICA, CONTROLLER = "ray::ServeReplica", "ray::ServeController"

__all__ = ["CONTROLLER", "REPLICA", "START_S", "awaited", "below", "processes", "replaced"]


def processes(title: str) -> set[int]:
    """By what they call themselves."""
    return below(psutil.Process(), title)


def below(process: psutil.Process, title: str) -> set[int]:
    """Likewise, of those that this one has started, or what it has started."""
    found = set()
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            program = "".join(child.cmdline()[:1])
            if program.rpartition("/")[2].startswith(title):
                found.add(child.pid)
    return found


async def replaced(title: str, victims: set[int], count: int) -> None:
    """Until there are so many others."""
    await awaited(lambda: len(processes(title) - victims) >= count)


async def awaited(is_so: Callable[[], object]) -> None:
    """Until it is so of processes of Ray, which take seconds to start."""
    async with asyncio.timeout(START_S):
        while not is_so():  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.1)
