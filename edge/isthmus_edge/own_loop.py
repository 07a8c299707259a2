"""An event loop in a thread of its own, which other threads ask, and which ends once.

No lock is held while anybody waits, so that a signal handler may end what the main thread is just
ending, or asking. A process that was forked has no such thread: there nothing runs, and nobody
waits.
"""

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from isthmus import AgentClosedError, ConfigError

Result = TypeVar("Result")

_LOOK_S = 0.002  # between two looks whether the thread has ended

log = logging.getLogger("isthmus.edge")

__all__ = ["OwnLoop"]


class OwnLoop:
    """Runs from its construction until `end`; `afterwards` is the last that its thread does."""

    def __init__(
        self,
        name: str,
        afterwards: Callable[[], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._loop = asyncio.new_event_loop() if loop is None else loop
        self._afterwards = afterwards
        self._questions: deque[Callable[[], None]] = deque()
        self._last: asyncio.Task[None] | None = None
        self._is_over = False
        self._has_ended = False
        self._is_joined = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether the caller is on the loop's thread, which must not wait."""
        return threading.current_thread() is self._thread and not self.is_a_copy

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What a coroutine gives; not to be used beside `end`, nor behind it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def post(self, work: Callable[[], None]) -> None:
        """Have something done, behind what was posted before; AgentClosedError after the end, and
        in a forked process."""
        self.must_not_be_a_copy()
        try:
            self._loop.call_soon_threadsafe(work)
        except RuntimeError as error:  # the loop is closed: asyncio has no other reason
            raise AgentClosedError("the agent is closed; open another one") from error

    def ask(self, question: Callable[[], Result]) -> Result:
        """What a question gives, put on the loop's thread; on the caller's after the end, and in a
        forked process.

        It may come at any time: what the loop has not come to when it ends is answered behind it.
        Raises ConfigError on the loop's own thread.
        """
        self.must_be_elsewhere()
        if self.is_a_copy:
            return question()
        answer: Future[Result] = Future()
        self._questions.append(partial(_answer, question, answer))
        with suppress(AgentClosedError):
            self.post(self._answer_all)
        if self._is_over:  # and perhaps nobody looks any more
            self._answer_all()
        return answer.result()

    def end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a last coroutine, stop, and return when all is over, `afterwards` included.

        Whoever calls this waits, from several threads too; the coroutine of the first one counts.
        In a forked process nothing is done: the end is the other one's. Raises ConfigError on the
        loop's own thread.
        """
        self.must_be_elsewhere()
        if self.is_a_copy:
            return
        with suppress(AgentClosedError):
            self.post(partial(self._begin_last, last))
        # Who waits by a lock, as `join` does, may hold it when a signal's handler comes to wait.
        while not self._has_ended:
            time.sleep(_LOOK_S)
        if not self._is_joined:
            self._is_joined = True
            self._thread.join()

    def must_be_elsewhere(self) -> None:
        """ConfigError on the loop's own thread: there, waiting for it would last for ever."""
        if self.is_here:
            raise ConfigError(
                "callbacks of answers and events run on the agent's own thread, which must not "
                "wait for itself: hand the answer to another thread and go on there"
            )

    def must_not_be_a_copy(self) -> None:
        """AgentClosedError in a forked process."""
        if self.is_a_copy:
            raise AgentClosedError(
                "the agent runs in the process that opened it, and this one was forked from that; "
                "open another agent here"
            )

    @property
    def is_a_copy(self) -> bool:
        """Whether this process was forked from the one that the thread runs in.

        It takes no lock, unlike `Thread.is_alive`: a signal's handler may come amid any of this.
        """
        return os.getpid() != self._process

    def _begin_last(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._last is None:
            self._last = self._loop.create_task(last())
            self._last.add_done_callback(self._stop)

    def _stop(self, last: asyncio.Task[None]) -> None:
        error = last.exception()
        if error is not None:
            log.error("the agent could not close everything", exc_info=error)
        self._loop.stop()

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
            self._is_over = True
            self._answer_all()
            try:
                self._afterwards()
            finally:
                self._has_ended = True

    def _answer_all(self) -> None:
        with suppress(IndexError):  # no question is left; several threads may look
            while True:
                self._questions.popleft()()


def _answer(question: Callable[[], Result], answer: "Future[Result]") -> None:
    try:
        answer.set_result(question())
    except BaseException as error:  # noqa: BLE001 - raised where the answer is waited for
        answer.set_exception(error)
