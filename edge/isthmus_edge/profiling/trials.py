"""Tries each network in a process of its own before it is measured in this one."""

import signal
import subprocess
import sys

import msgspec

from isthmus_edge.profiling.kit import OpenKit
from isthmus_edge.profiling.subjects import Subject

__all__ = ["Trial", "try_alone"]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """`memory_bytes` is what the process grew by, at its highest if `is_peak`; or the `problem`.

    `error` is how far the answers are from the kit's.
    """

    memory_bytes: int = 0
    is_peak: bool = False
    error: float = 0.0
    problem: str | None = None


def try_alone(kit: OpenKit, subject: Subject, threads: int) -> Trial:
    """Load and run a network of the kit in a fresh process; never raises for what that does."""
    command = [sys.executable, "-m", "isthmus_edge.profiling.alone"]
    ran = subprocess.run(
        [*command, str(kit.folder), subject.network.name, subject.runtime.name, str(threads)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if ran.returncode < 0:
        why = "for want of memory" if -ran.returncode == signal.SIGKILL else "it crashed"
        return Trial(
            problem=f"{subject.name}: its process was ended by signal {-ran.returncode}, "
            f"most likely {why}"
        )
    try:
        return msgspec.json.decode(ran.stdout, type=Trial)
    except msgspec.DecodeError:
        last = (ran.stderr.strip().splitlines() or [f"status {ran.returncode}"])[-1]
        return Trial(problem=f"{subject.name}: its process failed: {last}")
