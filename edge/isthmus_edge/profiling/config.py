"""What a profiling run can be told."""

from collections.abc import Callable
from dataclasses import dataclass

from isthmus import ConfigError
from isthmus_edge.runtimes import RuntimeChoice

__all__ = ["LEAST_ROUNDS", "ProfilingConfig", "Progress", "silent"]

LEAST_ROUNDS = 3  # below, first and last third are nothing

# The share that is done (0-1), and what is being done.
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilingConfig:
    """Settings of one run.

    `threads` compute one item. Every network and prefix runs once a round, for `rounds` rounds or,
    where that comes first, `seconds` (None: no limit), but never fewer than three times.
    `runtime` "auto" measures every runtime that is installed, a name that one alone.
    `kernel_runs` are those under the runtime's profiler.
    """

    threads: int = 1
    runtime: RuntimeChoice = "auto"
    rounds: int = 24
    seconds: float | None = None
    kernel_runs: int = 16

    def __post_init__(self) -> None:
        for name, least in (("threads", 1), ("rounds", LEAST_ROUNDS), ("kernel_runs", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigError(f"seconds must be above 0, got {self.seconds}")


def silent(_share: float, _what: str) -> None:
    """Nobody watches."""
