"""What is opened on a thread is closed, whoever has stopped waiting for it by then."""

import asyncio
import threading

import pytest

from isthmus_cloud.disk_threads import DiskThreads

PATIENCE_S = 30.0


class Thing:
    """Opens when it is let, and notes that it was closed."""

    def __init__(self) -> None:
        self.begun, self.let, self.closed = (threading.Event() for _ in range(3))

    def open(self) -> "Thing":
        self.begun.set()
        assert self.let.wait(PATIENCE_S)
        return self

    def close(self) -> None:
        self.closed.set()


async def use(disk: DiskThreads, thing: Thing, inside: asyncio.Event) -> None:
    async with disk.opened(thing.open):
        inside.set()
        await asyncio.Event().wait()


async def begun(disk: DiskThreads, thing: Thing) -> asyncio.Task[None]:
    using = asyncio.create_task(use(disk, thing, asyncio.Event()))
    await asyncio.to_thread(thing.begun.wait, PATIENCE_S)
    return using


async def test_a_block_that_is_cancelled_closes_what_it_has() -> None:
    with DiskThreads() as disk:
        thing, inside = Thing(), asyncio.Event()
        thing.let.set()
        using = asyncio.create_task(use(disk, thing, inside))
        await inside.wait()
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        assert thing.closed.is_set()


async def test_what_opens_after_nobody_waits_is_closed() -> None:
    with DiskThreads() as disk:
        thing = Thing()
        using = await begun(disk, thing)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        thing.let.set()
        assert await asyncio.to_thread(thing.closed.wait, PATIENCE_S)


def test_what_opens_after_the_loop_has_ended_is_closed() -> None:
    with DiskThreads() as disk:
        thing = Thing()

        async def leave() -> None:
            await begun(disk, thing)

        asyncio.run(leave())  # cancels what still runs, and closes the loop
        thing.let.set()
        assert thing.closed.wait(PATIENCE_S)


async def test_closing_goes_on_when_all_threads_are_busy_and_the_wait_is_cancelled() -> None:
    with DiskThreads(workers=1) as disk:
        thing, other, inside = Thing(), Thing(), asyncio.Event()
        thing.let.set()
        using = asyncio.create_task(use(disk, thing, inside))
        await inside.wait()
        blocking = await begun(disk, other)
        using.cancel()
        await asyncio.sleep(0)  # it waits for its turn to close
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        assert not thing.closed.is_set()
        other.let.set()
        assert await asyncio.to_thread(thing.closed.wait, PATIENCE_S)
        blocking.cancel()
