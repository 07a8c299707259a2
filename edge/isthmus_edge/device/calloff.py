"""How work on the device's thread learns that nobody waits for it any more."""

import threading
from collections.abc import Callable

__all__ = ["CallOff"]


class CallOff:
    """Given to work that may be stopped; `now` stops it, from any thread."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._stops: list[Callable[[], None]] = []

    def now(self) -> None:
        """Nobody waits: what runs stops as soon as it can, and its result will not be used."""
        self._stopped.set()
        for stop in tuple(self._stops):
            stop()

    def stops(self, stop: Callable[[], None]) -> None:
        """Have `stop` called too; at once, if it is too late already."""
        self._stops.append(stop)
        if self._stopped.is_set():
            stop()

    def pause(self, seconds: float) -> None:
        """Sleep, but no longer than somebody waits."""
        self._stopped.wait(seconds)
