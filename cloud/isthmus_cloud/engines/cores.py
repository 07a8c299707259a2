"""The processor's cores, which batches that run at once share.

Two runs, each on all cores, get in each other's way: the threads of one wait for cores that those
of the other have, and every operator ends with its slowest thread. Each on its own share, they do
more together. A run that has the processor to itself is done sooner on all of it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from isthmus import ConfigError

__all__ = ["Cores"]


class Cores:
    """How many threads a run should use: `alone` if it is the only one that computes now, `beside`
    if others do: its share where `at_once` compute, rounded up. For several threads and engines."""

    def __init__(self, threads: int, at_once: int = 1) -> None:
        for name, value in (("threads", threads), ("at_once", at_once)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        self.alone = threads
        self.beside = -(-threads // at_once)  # a thread too many costs less than a core that idles
        self._lock = threading.Lock()
        self._running = 0

    @contextmanager
    def run(self) -> Iterator[int]:
        """While this run computes: the threads for it."""
        with self._lock:
            self._running += 1
            threads = self.alone if self._running == 1 else self.beside
        try:
            yield threads
        finally:
            with self._lock:
                self._running -= 1
