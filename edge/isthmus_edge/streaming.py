"""Answers to many frames, in order and pipelined, for whoever asks with `for` or `async for`.

    frames --as many as are wanted ahead--> handed in, in turn --> answers, in turn

Whoever stops asking takes back what the device has not begun; the rest ends unheard.
"""

import asyncio
import threading
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass
from queue import SimpleQueue

from isthmus import ConfigError
from isthmus_edge.answer import Answer
from isthmus_edge.inputs import Inputs

__all__ = ["Answers", "Door", "Frames"]

Frames = Iterable[Inputs] | AsyncIterable[Inputs]
Turn = Future[Answer]


@dataclass(frozen=True, slots=True)
class Door:
    """How one stream's frames are handed in: `enter` waits for a frame's place where it has to."""

    enter: Callable[[Inputs], Turn]
    enter_async: Callable[[Inputs], Awaitable[Turn]]


class Answers:
    """Iterate over it once: with `for`, or with `async for` where frames may be either kind.

    An error comes in its frame's turn and ends the iteration; so does what the frames' own iterator
    raises, behind the answers to the frames before it. `close` or `aclose` end it early, as leaving
    a loop does when nobody holds this object any more.
    """

    def __init__(self, door: Door, frames: Frames, ahead: int) -> None:
        self._door = door
        self._frames = frames
        self._ahead = ahead
        self._sync: Generator[Answer, None, None] | None = None
        self._async: AsyncGenerator[Answer, None] | None = None

    def __iter__(self) -> Iterator[Answer]:
        return self

    def __next__(self) -> Answer:
        if self._async is not None:
            raise ConfigError("this stream is read with `async for` already; open another one")
        if self._sync is None:
            if not isinstance(self._frames, Iterable):
                raise ConfigError("these frames come asynchronously: read with `async for`")
            self._sync = _answers(self._door, iter(self._frames), self._ahead)
        return next(self._sync)

    def __aiter__(self) -> "Answers":
        return self

    async def __anext__(self) -> Answer:
        if self._sync is not None:
            raise ConfigError("this stream is read with `for` already; open another one")
        if self._async is None:
            self._async = _answers_async(self._door, self._frames, self._ahead)
        return await anext(self._async)

    def close(self) -> None:
        """End what was read with `for`; idempotent."""
        if self._sync is not None:
            self._sync.close()

    async def aclose(self) -> None:
        """End what was read with `async for`; idempotent."""
        if self._async is not None:
            await self._async.aclose()


def _answers(door: Door, source: Iterator[Inputs], ahead: int) -> Generator[Answer, None, None]:
    turns: deque[Turn] = deque()
    is_more = True
    try:
        while True:
            is_more = is_more and _read_ahead(door, source, turns, ahead)
            if not turns:
                return
            answer = turns[0].result()
            turns.popleft()
            yield answer
    finally:
        _take_back(turns)


def _read_ahead(door: Door, source: Iterator[Inputs], turns: deque[Turn], ahead: int) -> bool:
    """Hand in one frame, and more until the oldest has its answer; False if there are no more."""
    is_first = True
    while len(turns) < ahead and (is_first or not turns or not turns[0].done()):
        is_first = False
        try:
            turns.append(door.enter(next(source)))
        except StopIteration:
            return False
        except Exception as error:  # noqa: BLE001 - raised in its turn
            turns.append(_failed(error))
            return False
    return True


async def _answers_async(door: Door, frames: Frames, ahead: int) -> AsyncGenerator[Answer, None]:
    turns: asyncio.Queue[Turn | None] = asyncio.Queue()
    places = asyncio.Semaphore(ahead)
    reading = asyncio.create_task(_read(door, frames, turns, places))
    current: Turn | None = None
    try:
        while (current := await turns.get()) is not None:
            answer = await asyncio.wrap_future(current)
            places.release()
            yield answer
    finally:
        reading.cancel()
        _take_back([current, *_rest_of(turns)])
        await asyncio.wait([reading])
        _take_back(_rest_of(turns))


async def _read(
    door: Door, frames: Frames, turns: asyncio.Queue[Turn | None], places: asyncio.Semaphore
) -> None:
    """Hand in frames as long as there are places; None behind the last turn."""
    try:
        if isinstance(frames, AsyncIterable):
            await _read_all(door, frames, turns, places)
        else:
            async with aclosing(_unblocked(iter(frames))) as source:
                await _read_all(door, source, turns, places)
    except Exception as error:  # noqa: BLE001 - raised in its turn
        turns.put_nowait(_failed(error))
    turns.put_nowait(None)


async def _read_all(
    door: Door,
    source: AsyncIterable[Inputs],
    turns: asyncio.Queue[Turn | None],
    places: asyncio.Semaphore,
) -> None:
    await places.acquire()  # before a frame is taken: it would grow old here
    async for frame in source:
        turns.put_nowait(await door.enter_async(frame))
        await places.acquire()


async def _unblocked(source: Iterator[Inputs]) -> AsyncGenerator[Inputs, None]:
    """Items of an iterator that may block; it is asked on one thread of its own.

    That is a daemon: a source that never comes back keeps no program from its end.
    """
    asked: SimpleQueue[Future[Inputs] | None] = SimpleQueue()
    threading.Thread(target=_ask, args=(source, asked), name="isthmus-frames", daemon=True).start()
    try:
        while True:
            item: Future[Inputs] = Future()
            asked.put(item)
            yield await asyncio.wrap_future(item)
    except _SourceEndedError:
        return
    finally:
        asked.put(None)


class _SourceEndedError(Exception):
    """A future cannot carry a StopIteration."""


def _ask(source: Iterator[Inputs], asked: "SimpleQueue[Future[Inputs] | None]") -> None:
    while (item := asked.get()) is not None:
        if not item.set_running_or_notify_cancel():
            continue
        try:
            item.set_result(next(source))
        except StopIteration:
            item.set_exception(_SourceEndedError())
        except BaseException as error:  # noqa: BLE001 - raised where the item is awaited
            item.set_exception(error)


def _rest_of(turns: "asyncio.Queue[Turn | None]") -> list[Turn | None]:
    return [turns.get_nowait() for _ in range(turns.qsize())]


def _take_back(turns: "Iterable[Turn | None]") -> None:
    """Nobody will ask for these any more."""
    for turn in turns:
        if turn is not None:
            turn.cancel()


def _failed(error: Exception) -> Turn:
    failed: Turn = Future()
    failed.set_exception(error)
    return failed
