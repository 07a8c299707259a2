"""Signals that a service heeds, each once.

A loop's own `add_signal_handler` is not used: uvloop 0.23 may hand out one signal a second time
when another one follows, and a second SIGTERM means that nothing is waited for.
"""

import asyncio
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

__all__ = ["heeding"]


@contextmanager
def heeding(kinds: Iterable[signal.Signals], tell: Callable[[], object]) -> Iterator[None]:
    """Within the block each of these signals calls `tell`, on the loop that runs; the main
    thread's. What they did before is put back."""
    loop = asyncio.get_running_loop()

    def told(*_: object) -> None:
        loop.call_soon_threadsafe(tell)

    before = {kind: signal.signal(kind, told) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, signal.SIG_DFL if handler is None else handler)
