"""The device's one worker: what is most urgent goes first, and nothing waits for ever.

A rest that was begun because an answer may be late must not hold up the frames behind it, whose own
answers would be late for it. So new frames go before rests, but only before those that have waited
for less than `REST_WAITS_S`.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from queue import PriorityQueue
from typing import TypeVar

Result = TypeVar("Result")

REST_WAITS_S = 0.1

__all__ = ["REST_WAITS_S", "Desk"]


class Desk:
    """One thread that does what it is given, in the order of when it is due."""

    def __init__(self, name: str) -> None:
        self._turns = count()
        self._work: PriorityQueue[tuple[float, int, Callable[[], None] | None]] = PriorityQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], Result], due_s: float | None = None) -> "Future[Result]":
        """Its result, when its turn has come; due now, unless it says otherwise (monotonic)."""
        future: Future[Result] = Future()

        def serve() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001 - raised where the future is awaited
                    future.set_exception(error)

        due_s = time.monotonic() if due_s is None else due_s
        self._work.put((due_s, next(self._turns), serve))
        return future

    def close(self) -> None:
        """Do what is there, and end."""
        self._work.put((float("inf"), next(self._turns), None))
        self._thread.join()

    def _serve(self) -> None:
        while (serve := self._work.get()[2]) is not None:
            serve()
