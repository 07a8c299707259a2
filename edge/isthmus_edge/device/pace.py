"""The seam through which all of the device's computing goes, so that it can be timed or slowed."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from isthmus_edge.device.calloff import CallOff

Result = TypeVar("Result")

__all__ = ["FullPace", "Pace"]


class Pace(Protocol):
    """Runs the device's work and says how long it took there."""

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        """The result of `work()` and the time it took, in ms; equal `kind` is equal work.

        After `call_off` nobody waits for it, and it need not take its time.
        """
        ...


class FullPace:
    """As fast as this machine is."""

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        """The result of `work()` and the wall time it took, in ms."""
        begin = time.perf_counter()
        result = work()
        return result, (time.perf_counter() - begin) * 1e3
