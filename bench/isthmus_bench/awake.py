"""Keeps the processors awake while a bench waits more than it computes.

A host gives the processor of a virtual machine that sleeps to the neighbours, and takes its time to
give it back: a bench whose processes mostly wait then measures the host, although it asks for
little (its steal time is many times what it uses). So each processor gets a loop that runs when
nothing else wants to (SCHED_IDLE, which everything else preempts at once); what booting with
`idle=poll` does for a whole machine. Where there is no such priority, nothing is done.
"""

import os
import subprocess
import sys
from typing import Self

AWAKE = "Loops of idle priority kept the processors awake."

__all__ = ["AWAKE", "Awake"]

_LOOP = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its parent
os.nice(19)
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() == int(sys.argv[1]):
    for _ in range(10_000):
        pass
"""


class Awake:
    """For as long as its context lasts; the loops end with this process, too."""

    def __init__(self) -> None:
        self._loops: list[subprocess.Popen[bytes]] = []

    @staticmethod
    def is_possible() -> bool:
        """Whether this system knows work that runs only when nothing else wants to."""
        return hasattr(os, "SCHED_IDLE")

    def __enter__(self) -> Self:
        if self.is_possible():
            for _ in os.sched_getaffinity(0):
                command = [sys.executable, "-c", _LOOP, str(os.getpid())]
                self._loops.append(subprocess.Popen(command))
        return self

    def __exit__(self, *exc: object) -> None:
        for loop in self._loops:
            loop.kill()
        for loop in self._loops:
            loop.wait()
        self._loops.clear()
