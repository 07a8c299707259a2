"""What checks look at: the kernel's files, the clocks, the machine. A test brings its own."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from isthmus_edge.kernel_files import KernelFiles

__all__ = ["Surroundings"]


def _affinity() -> int:
    """How many CPUs this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings(KernelFiles):
    """The machine as a check sees it.

    `wall_s` is the time of day in seconds since 1970, `clock_s` a clock that only goes forward,
    `wait` lets so many seconds pass.
    """

    machine: str = field(default_factory=platform.machine)
    affinity: int = field(default_factory=_affinity)
    wall_s: Callable[[], float] = time.time
    clock_s: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep
