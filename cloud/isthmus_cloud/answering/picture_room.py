"""Threads and memory for pictures that come as files and are decoded to whatever size they have.

A picture of a device has the size that the plan says; a client of the Open Inference Protocol sends
photographs. Small files make great pictures, and decoding one takes longer than many frames: so
they are decoded before they get into the queue, by threads that do nothing else, only as many at a
time as fit. Clients take turns here as they do there.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

from isthmus import Cut, PictureError, TensorSpec
from isthmus.picture_files import decoding_bytes, read_picture
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.jobs import TooLateError

THREADS = 2

__all__ = ["PictureRoom"]


class PictureRoom:
    """Where the pictures of all models are decoded; used on one event loop."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self._changed = threading.Condition()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pictures")
        self._free = THREADS
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}  # the next client first

    def close(self) -> None:
        """What has not begun is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def decoded(
        self,
        cut: Cut,
        tensors: Mapping[str, AnyArray | bytes],
        deadline_ns: int,
        client: Hashable,
    ) -> dict[str, AnyArray]:
        """The tensors of `cut` [*graph_shape] by name, arrays as they are and pictures decoded, in
        the turn of `client`.

        PictureError for what is no picture, or too large a one; TooLateError if its turn comes
        after the deadline (monotonic). Cancelling it gives up what has not begun.
        """
        arrays = {}
        for spec in (tensor.wire for tensor in cut.tensors):
            given = tensors[spec.name]
            if isinstance(given, bytes):
                await self._turn(client)
                given = await asyncio.wrap_future(self._begun(given, spec, deadline_ns))
            arrays[spec.name] = given
        return arrays

    async def _turn(self, client: Hashable) -> None:
        """A thread, which `_leave` gives back."""
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it had just come
                self._leave()
            raise

    def _leave(self) -> None:
        """The thread goes to the client who is next, and that client behind all others."""
        while self._waiting:
            client, turns = next(iter(self._waiting.items()))
            del self._waiting[client]
            while turns and turns[0].done():  # they do not wait any more
                turns.popleft()
            if turns:
                turns.popleft().set_result(None)
                if turns:
                    self._waiting[client] = turns
                return
        self._free += 1

    def _begun(self, content: bytes, spec: TensorSpec, deadline_ns: int) -> "Future[AnyArray]":
        """A picture on its thread, which is free when that ends, whoever waits for it."""
        loop = asyncio.get_running_loop()

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it all who wait
                loop.call_soon_threadsafe(self._leave)

        decoding = self._threads.submit(self._picture, content, spec, deadline_ns)
        decoding.add_done_callback(ended)
        return decoding

    def _picture(self, content: bytes, spec: TensorSpec, deadline_ns: int) -> AnyArray:
        if time.monotonic_ns() > deadline_ns:
            raise TooLateError("the picture's deadline passed before it could be decoded")
        height, width = spec.shape[:2]
        with self._taken(decoding_bytes(content)):
            return read_picture(content, height, width).reshape(spec.graph_shape)

    @contextmanager
    def _taken(self, count: int) -> Iterator[None]:
        """So many bytes are this thread's; who finds no room waits until others are done.
        PictureError where they would never fit."""
        if count > self._limit_bytes:
            raise PictureError(
                f"the picture takes {count} bytes to decode, and {self._limit_bytes} are here for "
                "that; scale the picture down first"
            )
        with self._changed:
            while self._taken_bytes + count > self._limit_bytes:
                self._changed.wait()
            self._taken_bytes += count
        try:
            yield
        finally:
            with self._changed:
                self._taken_bytes -= count
                self._changed.notify_all()
