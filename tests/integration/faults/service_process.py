"""The real `isthmus cloud`, whose engine obeys the tests.

    python -m tests.integration.faults.service_process cloud BUNDLE [flags of isthmus cloud]

HOLD: every run waits until GO. BREAK: the next run of several items ends in an error that nobody
has foreseen, and a line says of how many ("broke 12"). From the first frame on, a blank picture is
poison: a run with one among its items fails. A run takes `RUN_S`, however many items it has: so
batches pay, and gather. Besides, it is told and asked as `cloud_process.py` says.
"""

import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence

import numpy as np
from tests.integration.faults.cloud_process import serve, watch

from isthmus import ModelError
from isthmus_cloud.answering.desk import Desk
from isthmus_cloud.engines.ort import OrtProgram
from isthmus_cloud.engines.seam import Value

HOLD, GO, BREAK = signal.SIGRTMIN, signal.SIGRTMIN + 1, signal.SIGRTMIN + 2
RUN_S = 0.002
BROKE = "broke "
ROWS_AND_COLUMNS = {"picture": (1, 2), "relu_0": (2, 3)}  # axes of what the parts read

__all__ = ["BREAK", "BROKE", "GO", "HOLD"]


class _Engine:
    """Runs what it is given unless it was told otherwise."""

    def __init__(self) -> None:
        self._run = OrtProgram.run
        self._may_run = threading.Event()
        self._never = threading.Event()
        self._breaks = False
        self._is_poisoned = False
        self._may_run.set()
        signal.signal(HOLD, lambda *_: self._may_run.clear())
        signal.signal(GO, lambda *_: self._may_run.set())
        signal.signal(BREAK, self._break_soon)
        watch(Desk, "begin", self._first_frame)

    def run(self, program: OrtProgram, feeds: Mapping[str, Value]) -> Sequence[Value]:
        """In place of `OrtProgram.run`."""
        self._may_run.wait()
        self._never.wait(RUN_S)
        if self._breaks and _items(feeds) > 1:
            self._breaks = False
            os.write(1, f"{BROKE}{_items(feeds)}\n".encode())
            raise MemoryError("the engine broke")
        if self._is_poisoned and _has_blank(feeds):
            raise ModelError("poison")
        return self._run(program, feeds)

    def _break_soon(self, *_: object) -> None:
        self._breaks = True

    def _first_frame(self, *_: object) -> None:
        self._is_poisoned = True


def _items(feeds: Mapping[str, Value]) -> int:
    return max(len(np.asarray(value)) for value in feeds.values())


def _has_blank(feeds: Mapping[str, Value]) -> bool:
    """Whether nothing changes across one of the items; the padding at their last edge does."""
    for name in ROWS_AND_COLUMNS.keys() & feeds.keys():
        rows, columns = ROWS_AND_COLUMNS[name]
        values = np.moveaxis(np.asarray(feeds[name]), (rows, columns), (1, 2))[:, :-1, :-1]
        if (np.ptp(values, axis=(1, 2)) < 1e-3).all(axis=-1).any():
            return True
    return False


def _serve(arguments: list[str]) -> int:
    engine = _Engine()

    def run(self: OrtProgram, feeds: Mapping[str, Value]) -> Sequence[Value]:
        return engine.run(self, feeds)

    OrtProgram.run = run  # type: ignore[method-assign]
    return serve(arguments)


if __name__ == "__main__":
    sys.exit(_serve(sys.argv[1:]))
