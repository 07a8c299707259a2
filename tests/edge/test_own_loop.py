"""A loop that is asked at any time and ended by anybody: nobody waits for ever."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from typing import TypeVar, TypeVarTuple, Unpack

import pytest

from isthmus import AgentClosedError, ConfigError
from isthmus_edge.own_loop import OwnLoop

PATIENT = 20.0

Result = TypeVar("Result")
Values = TypeVarTuple("Values")


def nothing() -> None:
    pass


async def rest() -> None:
    pass


def elsewhere(work: Callable[[], Result]) -> "Future[Result]":
    """Done by a thread that a test does not wait for if it hangs."""
    done: Future[Result] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


class LateLoop(asyncio.SelectorEventLoop):
    """What comes while it is `late` comes behind its last turn, and before it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.late = threading.Event()
        self._stopped = threading.Event()
        self._posted = threading.Event()

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Values]], object],
        *args: *Values,
        context: Context | None = None,
    ) -> asyncio.Handle:
        if not self.late.is_set():
            return super().call_soon_threadsafe(callback, *args, context=context)
        assert self._stopped.wait(PATIENT)
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        self._posted.set()
        return handle

    def close(self) -> None:
        self._stopped.set()
        assert self._posted.wait(PATIENT)
        super().close()


def test_a_question_that_comes_behind_the_last_turn_is_answered() -> None:
    loop = LateLoop()
    own = OwnLoop("late", nothing, loop)
    asking: Future[Future[str]] = Future()

    async def last() -> None:
        loop.late.set()
        asking.set_result(elsewhere(lambda: own.ask(lambda: "asked")))

    elsewhere(lambda: own.end(last)).result(PATIENT)
    assert asking.result(PATIENT).result(PATIENT) == "asked"


def test_a_question_after_the_end_is_answered_where_it_is_asked() -> None:
    own = OwnLoop("own", nothing)
    assert own.ask(threading.current_thread) is not threading.current_thread()
    own.end(rest)

    def is_asked_here() -> bool:
        return own.ask(threading.current_thread) is threading.current_thread()

    assert elsewhere(is_asked_here).result(PATIENT)
    assert isinstance(elsewhere(lambda: own.ask(lambda: 1 / 0)).exception(PATIENT), ArithmeticError)
    with pytest.raises(AgentClosedError):
        own.post(nothing)


def test_whoever_ends_it_returns_when_all_is_over_and_what_is_last_runs_once() -> None:
    may_end, lasts = threading.Event(), []

    def afterwards() -> None:
        assert may_end.wait(PATIENT)

    own = OwnLoop("own", afterwards)

    async def last() -> None:
        lasts.append(1)

    def end() -> bool:
        own.end(last)
        return may_end.is_set()

    with ThreadPoolExecutor(4) as threads:
        endings = [threads.submit(end) for _ in range(3)]
        while not lasts:
            own.ask(nothing)
        endings.append(threads.submit(end))
        may_end.set()
        assert [ending.result(PATIENT) for ending in endings] == [True] * 4
    own.end(last)
    assert lasts == [1]


def test_it_ends_also_where_the_last_that_it_does_fails(caplog: pytest.LogCaptureFixture) -> None:
    over: list[bool] = []
    own = OwnLoop("own", lambda: over.append(True))

    async def last() -> None:
        raise ZeroDivisionError("on demand")

    own.end(last)
    assert over == [True]
    assert "ZeroDivisionError: on demand" in caplog.text


@pytest.mark.parametrize("act", [lambda own: own.ask(nothing), lambda own: own.end(rest)])
def test_on_its_own_thread_nobody_waits_for_it(act: Callable[[OwnLoop], object]) -> None:
    own = OwnLoop("own", nothing)
    with pytest.raises(ConfigError, match="own thread"):
        own.ask(lambda: act(own))
    own.end(rest)
