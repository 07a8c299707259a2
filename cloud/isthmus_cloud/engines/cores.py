"""The processor's cores, which batches that run at once share.

Two runs, each on all cores, get in each other's way: the threads of one wait for cores that those
of the other have, and every operator ends with its slowest thread. Each on its own share, they do
more together. A run that has the processor to itself is done sooner on all of it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from isthmus import ConfigError

__all__ = ["Cores", "Share"]


class Share(NamedTuple):
    """What a run may use: the `threads` of a session. Of sessions with equally many those of
    another `place` are others."""

    threads: int
    place: int = 0


class Cores:
    """Which threads a run should use: `alone`, all, if it is the only one that computes now; if
    others do, `beside`: its share where `at_once` compute, rounded up. For several threads and
    engines."""

    def __init__(self, threads: int, at_once: int = 1) -> None:
        for name, value in (("threads", threads), ("at_once", at_once)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        self.alone = threads
        self.beside = -(-threads // at_once)  # a thread too many costs less than a core that idles
        self._lock = threading.Lock()
        # A single thread is that of whoever calls: such runs need no places of their own.
        self._free = [Share(self.beside, at) for at in range(at_once)] if self.beside > 1 else []
        given = (Share(self.alone), Share(self.beside), *self._free)
        self.shares = tuple(dict.fromkeys(given))  # all that a run may be given
        self._running = 0

    @contextmanager
    def run(self) -> Iterator[Share]:
        """While this run computes: what it may use; beside others, what none of them has, as long
        as there are no more than `at_once`."""
        with self._lock:
            self._running += 1
            is_alone = self._running == 1
            taken = self._free.pop() if self._free and not is_alone else None
        try:
            yield Share(self.alone) if is_alone else taken or Share(self.beside)
        finally:
            with self._lock:
                self._running -= 1
                if taken is not None:
                    self._free.append(taken)
