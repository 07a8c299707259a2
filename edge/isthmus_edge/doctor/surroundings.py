"""What checks look at: the kernel's files, the clocks, the machine. A test brings its own."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Surroundings"]


def _affinity() -> int:
    """How many CPUs this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The machine as a check sees it.

    `root` is the folder that holds proc/ and sys/. `wall_s` is the time of day in seconds since
    1970, `clock_s` a clock that only goes forward, `wait` lets so many seconds pass.
    """

    root: Path = Path("/")
    machine: str = field(default_factory=platform.machine)
    affinity: int = field(default_factory=_affinity)
    wall_s: Callable[[], float] = time.time
    clock_s: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep

    def text(self, name: str) -> str | None:
        """A file below `root`, None where there is none or it cannot be read."""
        try:
            data = (self.root / name).read_bytes()
        except OSError:
            return None
        return data.decode("utf-8", "replace").strip(" \n\0")

    def number(self, name: str) -> int | None:
        """A file that holds a whole number (or words that are none, such as "max")."""
        try:
            return int(self.text(name) or "", 0)
        except ValueError:
            return None

    def texts(self, pattern: str) -> dict[str, str]:
        """The files below `root` that match, by their paths below it, as far as they are read."""
        found = {path.relative_to(self.root).as_posix(): None for path in self.root.glob(pattern)}
        read = {name: self.text(name) for name in sorted(found)}
        return {name: text for name, text in read.items() if text is not None}

    def numbers(self, pattern: str) -> dict[str, int]:
        """The same for files that hold whole numbers."""
        read = {name: self.number(name) for name in self.texts(pattern)}
        return {name: value for name, value in read.items() if value is not None}
