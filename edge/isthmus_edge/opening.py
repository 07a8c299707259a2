"""What takes long to open, for an event loop that has other things to do meanwhile."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Opened = TypeVar("Opened")

__all__ = ["opened_elsewhere"]


async def opened_elsewhere(
    open_one: Callable[[], Opened], close_one: Callable[[Opened], None]
) -> Opened:
    """What `open_one` gives, on a thread of its own; closed there if its caller is cancelled."""
    result: Future[Opened] = Future()
    opening = (open_one, close_one, result)
    threading.Thread(target=_open, args=opening, name="isthmus-opening").start()
    try:
        return await asyncio.wrap_future(result)
    except asyncio.CancelledError:
        if not result.cancel():  # it was open already, or could not be
            await asyncio.to_thread(_close, close_one, result)
        raise


def _open(
    open_one: Callable[[], Opened],
    close_one: Callable[[Opened], None],
    result: "Future[Opened]",
) -> None:
    try:
        opened = open_one()
    except BaseException as error:  # noqa: BLE001 - raised where it is awaited
        if result.set_running_or_notify_cancel():
            result.set_exception(error)
        return
    if result.set_running_or_notify_cancel():
        result.set_result(opened)
    else:
        close_one(opened)


def _close(close_one: Callable[[Opened], None], result: "Future[Opened]") -> None:
    if result.exception() is None:
        close_one(result.result())
