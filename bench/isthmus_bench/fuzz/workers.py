"""A fuzz in processes of its own, so that a crash or a hang is a failure with a number too."""

import ctypes
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from isthmus import IsthmusError, decode_frame
from isthmus_bench.fuzz.fuzzing import (
    MEMORY_MARGIN_BYTES,
    Batch,
    Decoder,
    Failure,
    Fuzz,
    limit_memory,
)

BATCH = 1000  # frames from one message of a worker to the next
START_S = 120.0  # to import numpy on a busy machine

_PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What shall be tried, and with how much patience for one frame."""

    seed: int
    frames: int
    processes: int = 1
    decoder: Decoder = decode_frame
    hang_s: float = 30.0


class WorkerError(IsthmusError):
    """A worker ended before it had tried anything."""


def batches(run: Run) -> Iterator[Batch]:
    """What becomes of the frames, batch by batch; whoever stops asking stops the workers."""
    workers = [_Worker(run, first) for first in range(min(run.processes, run.frames))]
    try:
        while workers:
            ready = wait([worker.results for worker in workers], timeout=min(1.0, run.hang_s))
            for worker in list(workers):
                if worker.results in ready:
                    yield worker.receive()
                elif worker.is_stuck():
                    yield worker.ended(f"no end after {run.hang_s:g} s")
                if worker.is_done:
                    workers.remove(worker)
    finally:
        for worker in workers:
            worker.stop()


@dataclass(slots=True)
class _Worker:
    """One process after another, until its share (`start`, `start` + processes, …) is tried."""

    run: Run
    start: int
    results: "Connection[Any, Any]" = field(init=False)
    is_done: bool = False
    _process: Any = field(init=False)
    _now: ctypes.c_longlong = field(init=False)
    _fatal: frozenset[int] = frozenset()
    _seen: int = -1
    _seen_at_s: float = 0.0

    def __post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.results, sender = _PROCESSES.Pipe(duplex=False)
        self._now = _PROCESSES.RawValue(ctypes.c_longlong, -1)
        self._seen, self._seen_at_s = -1, time.monotonic()
        self._process = _PROCESSES.Process(
            target=_work, args=(self.run, self.start, self._fatal, self._now, sender), daemon=True
        )
        self._process.start()
        sender.close()  # so that the worker's end is the end of the pipe

    def receive(self) -> Batch:
        """The next batch, or the failure that ended the process."""
        try:
            batch: Batch = self.results.recv()
        except EOFError:
            self._process.join()
            return self.ended(f"ended the process with {self._process.exitcode}")
        self.start += BATCH * self.run.processes
        if self.start >= self.run.frames:
            self.is_done = True
            self.stop()
        return batch

    def is_stuck(self) -> bool:
        """Whether one frame has taken longer than anybody waits."""
        if self._now.value != self._seen:
            self._seen, self._seen_at_s = self._now.value, time.monotonic()
        patience_s = START_S if self._seen < 0 else self.run.hang_s
        return time.monotonic() - self._seen_at_s > patience_s

    def ended(self, what: str) -> Batch:
        """Begin again behind the frame that ended it; its batch has not been counted yet."""
        self.stop()
        index = self._now.value
        if index < 0:
            raise WorkerError(f"a worker of the fuzz {what} before its first frame")
        self._fatal |= {index}
        self._begin()
        return Batch(Counter(failed=1), [Failure(index, what)])

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self.results.close()


def _work(
    run: Run,
    start: int,
    fatal: frozenset[int],
    now: ctypes.c_longlong,
    results: "Connection[Any, Any]",
) -> None:
    """A worker's life; `now` tells which frame is tried."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    fuzz = Fuzz(run.seed, run.decoder)
    fuzz.decode_the_honest()
    limit_memory(MEMORY_MARGIN_BYTES)

    def begin(index: int) -> None:
        now.value = index

    for first in range(start, run.frames, BATCH * run.processes):
        last = min(run.frames, first + BATCH * run.processes)
        shares = range(first, last, run.processes)
        try:
            results.send(fuzz.batch((i for i in shares if i not in fatal), begin))
        except BrokenPipeError:
            return  # nobody asks any more
