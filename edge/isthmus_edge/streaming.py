"""Answers to many frames, in order and pipelined, for whoever asks with `for` or `async for`.

    frames --as many as are wanted ahead--> handed in, in turn --> answers, in turn

Frames are read beside the answers: an iterator that may block is asked on a thread of its own, so
that an answer does not wait for the next frame. Whoever stops asking takes back what the device has
not begun; the rest ends unheard.
"""

import asyncio
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from concurrent.futures import Future
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import PurePath
from queue import Empty, SimpleQueue

from isthmus import ConfigError
from isthmus_edge.answer import Answer
from isthmus_edge.inputs import Inputs

_SHOWN = 60  # characters of a wrong argument
LEAVE_S = 2.0  # a camera's frame is there before

__all__ = ["Answers", "Door", "Frames"]

Frames = Iterable[Inputs] | AsyncIterable[Inputs]
Turn = Future[Answer]


@dataclass(frozen=True, slots=True)
class Door:
    """How one stream's frames are handed in: `enter` waits for a frame's place where it has to.

    `check` raises ConfigError on a thread that must not wait for answers.
    """

    check: Callable[[], None]
    enter: Callable[[Inputs], Turn]
    enter_async: Callable[[Inputs], Awaitable[Turn]]


class Answers:
    """Iterate over it once: with `for`, or with `async for` where frames may be either kind.

    An error comes in its frame's turn and ends the iteration; so does what the frames' own iterator
    raises, behind the answers to the frames before it. `close` or `aclose` end it early, as leaving
    a loop does when nobody holds this object any more. The end of a `for` waits until the frames'
    iterator, on its thread, has given what it was asked for last, for at most 2 s (`LEAVE_S`):
    then that iterator is the caller's again.
    """

    def __init__(self, door: Door, frames: Frames, ahead: int) -> None:
        _require_many(frames)
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
        self._door.check()
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


def _require_many(frames: object) -> None:
    """ConfigError for what is one frame, or none at all."""
    is_one = isinstance(frames, str | bytes | PurePath | Mapping)
    if is_one or not isinstance(frames, Iterable | AsyncIterable):
        got = repr(frames)
        shown = got if len(got) <= _SHOWN else f"{got[:_SHOWN]}…"
        raise ConfigError(f"frames = {shown}: give an iterable of frames; [frame] if it is one")


def _answers(door: Door, source: Iterator[Inputs], ahead: int) -> Generator[Answer, None, None]:
    reading = _Reading(door, source, ahead)
    reading.start()
    current: Turn | None = None
    try:
        while (current := reading.turns.get()) is not None:
            answer = current.result()
            reading.places.release()
            yield answer
    finally:
        _take_back([current])
        reading.stop()


class _Reading:
    """The frames of a stream that is read with `for`, asked for and handed in on a thread.

    That is a daemon: a source that never comes back keeps no program from its end.
    """

    def __init__(self, door: Door, source: Iterator[Inputs], ahead: int) -> None:
        self.turns: SimpleQueue[Turn | None] = SimpleQueue()  # None behind the last one
        self.places = threading.Semaphore(ahead)
        self._door = door
        self._source = source
        self._is_over = False
        self._asking = threading.RLock()  # the source itself may end the stream

    def start(self) -> None:
        threading.Thread(target=self._read, name="isthmus-frames", daemon=True).start()

    def stop(self) -> None:
        """Nobody wants the rest; returns when nobody asks the source, or it seems stuck."""
        self._is_over = True
        self.places.release()
        self._take_back_all()
        if self._asking.acquire(timeout=LEAVE_S):
            self._asking.release()

    def _read(self) -> None:
        try:
            while True:
                self.places.acquire()  # before a frame is taken: it would grow old here
                self.turns.put(self._door.enter(self._asked()))
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001 - raised in its turn
            self.turns.put(_failed(error))
        self.turns.put(None)
        if self._is_over:
            self._take_back_all()

    def _asked(self) -> Inputs:
        """The next frame; StopIteration behind the last, and once nobody wants one."""
        with self._asking:
            if self._is_over:
                raise StopIteration
            return next(self._source)

    def _take_back_all(self) -> None:
        with suppress(Empty):
            while True:
                _take_back([self.turns.get_nowait()])


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


def _failed(error: BaseException) -> Turn:
    failed: Turn = Future()
    failed.set_exception(error)
    return failed
