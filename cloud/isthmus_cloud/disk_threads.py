"""A few threads for what blocks on the disk, so that the event loop never does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import ParamSpec, Protocol, Self, TypeVar

NAME = "isthmus-disk"
WORKERS = 4

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["DiskThreads"]


class _Closing(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closing)


class DiskThreads:
    """Threads of their own: a slow disk must not take those that decode frames."""

    def __init__(self, name: str = NAME, workers: int = WORKERS) -> None:
        """`name` is how they are called in dumps, with a number behind it."""
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._executor.shutdown()

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns or raises; it goes on to its end if whoever waits is cancelled."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(work, *args, **kwargs))

    @asynccontextmanager
    async def opened(
        self, work: Callable[P, C], *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[C]:
        """What `work` returns, closed at the end of the block, or when it comes too late."""
        opening = self._executor.submit(partial(work, *args, **kwargs))
        try:
            thing = await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)  # in its thread: the loop may end before it
            raise
        try:
            yield thing
        finally:
            await self._closed(thing)

    async def _closed(self, thing: C) -> None:
        """It is closed whether or not somebody still waits for that."""
        try:
            closing = self._executor.submit(thing.close)
        except RuntimeError:  # the threads have ended: the service is going
            thing.close()
        else:
            await asyncio.shield(asyncio.wrap_future(closing))


def _close(opened: Future[C]) -> None:
    """Nobody waits for it any more."""
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()
