"""Each signal is heeded once, on either loop; what it did before is put back."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest
import uvloop
from tests.cloud.wire import until

from isthmus_cloud.signals import heeding

TIMES = 20
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_signal_is_told_once_whatever_other_ones_come(loop: str) -> None:
    heard: list[str] = []

    async def send() -> None:
        with heeding([signal.SIGTERM], lambda: heard.append("end")):
            for _ in range(TIMES):
                os.kill(os.getpid(), signal.SIGTERM)
                await until(lambda: heard[-1:] == ["end"])
                os.kill(os.getpid(), signal.SIGUSR1)
                await until(lambda: heard[-1:] == ["other"])

    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("other"))
    try:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(send())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == ["end", "other"] * TIMES


async def test_what_a_signal_did_before_is_put_back() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with heeding([signal.SIGHUP], lambda: None):
            assert signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
