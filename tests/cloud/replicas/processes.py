"""The processes of a Ray that this one has started."""

import asyncio
from contextlib import suppress

import psutil

START_S = 120.0  # a hang becomes a failure; no test waits for it to pass
REPLICA, CONTROLLER = "ray::ServeReplica", "ray::ServeController"

__all__ = ["CONTROLLER", "REPLICA", "START_S", "processes", "replaced"]


def processes(title: str) -> set[int]:
    """By what they call themselves."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "".join(child.cmdline()[:1]).startswith(title):
                found.add(child.pid)
    return found


async def replaced(title: str, victims: set[int], count: int) -> None:
    """Until there are so many others; a process of Ray takes seconds to start."""
    async with asyncio.timeout(START_S):
        while len(processes(title) - victims) < count:  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.1)
