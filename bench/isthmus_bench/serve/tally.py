"""Counts what becomes of the frames of one load, and when."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from math import ceil, inf
from statistics import fmean, median

from isthmus.v1 import split_pb2 as pb
from isthmus_bench.serve.orders import Load

__all__ = ["ANSWER", "Tally", "percentile"]

ANSWER = "answer"  # how a frame ends that has no error


class Tally:
    """All frames of all devices; times are the loop's, in seconds."""

    def __init__(self) -> None:
        self._from = self._stop = inf
        self._latencies_ms: list[float] = []
        self._ends: Counter[str] = Counter()
        self._accepted = self._due = self._in_time = self._wrong = 0
        self._timings: list[pb.Timing] = []
        self._change = asyncio.Event()

    @property
    def stop(self) -> float:
        """When devices become silent."""
        return self._stop

    @property
    def under_way(self) -> int:
        """Frames that were sent and have not ended."""
        return self._accepted - self._ends.total()

    def set_times(self, counts_from: float, stop: float) -> None:
        """Frames that are due before `counts_from` will not be in the latencies, answers that come
        before it or after `stop` not in the rate."""
        self._from, self._stop = counts_from, stop

    def due(self, at: float) -> None:
        """A camera has a frame."""
        self._due += at >= self._from

    def accepted(self) -> None:
        """A frame was sent."""
        self._accepted += 1

    def ended(self, due_at: float, now: float, kind: str, is_right: bool = True) -> None:
        """A frame that was due at `due_at` has ended: `ANSWER`, or the code of its error."""
        self._ends[kind] += 1
        if kind == ANSWER:
            self._wrong += not is_right
            self._in_time += self._from <= now < self._stop
            if due_at >= self._from:
                self._latencies_ms.append((now - due_at) * 1e3)
        self._change.set()

    def timed(self, timing: pb.Timing) -> None:
        """What the service says of an answer."""
        self._timings.append(timing)

    def given_up(self) -> None:
        """A stream is over: nobody need wait for its frames."""
        self._change.set()

    async def changed(self) -> None:
        """Until the next end of a frame or of a stream."""
        await self._change.wait()
        self._change.clear()

    def load(self, unsent: int, server_cpu_s: float | None, client_cpu_s: float) -> Load:
        """The figures; processor times are those of the whole load."""
        answered = self._ends[ANSWER]
        missing = max(0, self._due - len(self._latencies_ms))
        latencies = sorted(self._latencies_ms) + [inf] * missing
        timings = self._timings
        return Load(
            accepted=self._accepted,
            answered=answered,
            errors={kind: count for kind, count in self._ends.items() if kind != ANSWER},
            lost=self.under_way,
            unsent=unsent,
            wrong=self._wrong,
            answers_per_s=self._in_time / (self._stop - self._from),
            p50_ms=percentile(latencies, 0.5),
            p95_ms=percentile(latencies, 0.95),
            p99_ms=percentile(latencies, 0.99),
            server_cpu_ms=_each(server_cpu_s, answered),
            client_cpu_ms=_each(client_cpu_s, answered),
            engine_ms=fmean(t.run_ms / max(1, t.batch) for t in timings) if timings else None,
            queue_ms=median(t.queue_ms for t in timings) if timings else None,
            decode_ms=median(t.decode_ms for t in timings) if timings else None,
            run_ms=median(t.run_ms for t in timings) if timings else None,
            batch=fmean(max(1, t.batch) for t in timings) if timings else None,
        )


def percentile(rising: Sequence[float], share: float) -> float | None:
    """The least value that this share (0-1) of the values does not exceed; None if infinite."""
    if not rising:
        return None
    value = rising[max(0, ceil(share * len(rising)) - 1)]
    return None if value == inf else value


def _each(seconds: float | None, answered: int) -> float | None:
    return None if seconds is None or not answered else seconds * 1e3 / answered
