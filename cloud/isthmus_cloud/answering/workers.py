"""The threads that run batches, for all models that the service holds.

A worker that is free takes the next batch at once: while all are busy, frames gather. So a batch
grows with the load, and a frame that comes alone waits for nobody, unless `linger_ms` says so.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from isthmus import ConfigError, ModelError
from isthmus_cloud.answering.decoding import Decoder
from isthmus_cloud.answering.elsewhere import Ending
from isthmus_cloud.answering.flow import Flow, Ran
from isthmus_cloud.answering.jobs import Job
from isthmus_cloud.answering.parts import Part, Tail
from isthmus_cloud.answering.waiting import Waiting

LOOK_AGAIN_S = 0.05  # while everything waits for something elsewhere

__all__ = ["Batching", "Finish", "Workers"]

# Told on the event loop of each frame that was taken from the queue: None, or what befell it.
Finish = Callable[[Job, Exception | None], None]
Run = tuple[Part, Sequence[Job], float]  # a part, the frames that it ran on, the time in ms

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """`workers` batches run at once; `decoders` more threads help to decode them. A batch that is
    not full is held back for up to `linger_ms` as long as no deadline suffers; `joins` says whether
    frames of different cuts may run together."""

    workers: int = 1
    decoders: int = 1
    linger_ms: float = 0.0
    joins: bool = True

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("decoders", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 <= self.linger_ms < float("inf"):
            raise ConfigError(f"linger_ms is {self.linger_ms}; it must be a time, 0 or more")


class Workers:
    """Runs what is put here until it is closed; made on the event loop that hears of the ends."""

    def __init__(self, batching: Batching, finish: Finish, ran: Ran[Job]) -> None:
        self._loop = asyncio.get_running_loop()
        self._batching = batching
        self._finish = finish
        self._waiting = Waiting(batching.joins)
        self._changed = threading.Condition()
        self._closed = False
        self._decoder = Decoder(batching.decoders)
        self._ran = ran
        self._threads = [
            threading.Thread(target=self._work, name=f"tail-{number}", daemon=True)
            for number in range(batching.workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Frames that no worker has begun."""
        return len(self._waiting)

    def put(self, job: Job) -> None:
        """One more frame; from any thread."""
        with self._changed:
            self._waiting.add(job)
            self._changed.notify()

    def give_up(self, job: Job) -> bool:
        """Nobody waits for this frame; False if a worker has it already."""
        with self._changed:
            return self._waiting.remove(job)

    def room(self, client: object, places: int, size_bytes: int) -> list[Job]:
        """See `Waiting.room`."""
        with self._changed:
            return self._waiting.room(client, places, size_bytes)

    def make_room(self, client: object, places: int, size_bytes: int) -> list[Job]:
        """See `Waiting.make_room`."""
        with self._changed:
            return self._waiting.make_room(client, places, size_bytes)

    def ahead(self, client: object) -> tuple[int, float]:
        """See `Waiting.ahead`."""
        with self._changed:
            return self._waiting.ahead(client)

    def forget(self, tails: Iterable[Tail]) -> list[Job]:
        """No frame of these will come any more; those that wait still, which no worker gets."""
        with self._changed:
            return [job for tail in tails for job in self._waiting.forget(tail)]

    def close(self, within_s: float) -> None:
        """Finish the batches that run, begin no other; what waits is left to its owner. Blocks for
        up to `within_s`: whoever still runs something then is left to the end of the process."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        until_s = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        hung = sum(thread.is_alive() for thread in self._threads)
        if hung:
            _logger.error(
                "%d of %d workers did not end within %g s: their engine hangs, they are left",
                *(hung, len(self._threads), within_s),
            )
        self._decoder.close(wait=not hung)

    def _work(self) -> None:
        runs: list[Run] = []
        taken: list[Job] = []  # by this worker, for this batch; whatever happens, each ends

        def ran(part: Part, jobs: Sequence[Job], took_ms: float) -> None:
            runs.append((part, tuple(jobs), took_ms))

        def joining(rest: Sequence[Part], most: int, own: Tail, most_own: int) -> list[Job]:
            joined = self._joining(rest, most, own, most_own)
            taken.extend(joined)
            return joined

        flow = Flow(self._decoder, joining, ran)
        while (jobs := self._next()) is not None:
            taken[:] = jobs
            ended: set[Job] = set()
            elsewhere = jobs[0].tail.elsewhere
            try:
                ways = [flow.run(jobs)] if elsewhere is None else elsewhere.run(jobs, joining, ran)
                for way in ways:
                    self._end(way, ended, runs)
            except BaseException as cause:  # be it SystemExit: the next batch needs this thread
                _logger.exception("a worker failed on a batch of %d", len(jobs))
                error = cause if isinstance(cause, Exception) else ModelError(f"{cause!r}")
                self._end([(job, error) for job in taken if job not in ended], ended, runs)
            finally:
                if elsewhere is not None:
                    elsewhere.end()

    def _end(self, way: Iterable[Ending], ended: set[Job], runs: list[Run]) -> None:
        """Tell of those that have ended, even if the rest fails on the way."""
        done: list[Ending] = []
        try:
            done.extend((job, error or _replied(job)) for job, error in way)
        finally:
            ended.update(job for job, _ in done)
            self._tell(done, tuple(runs))
            runs.clear()

    def _next(self) -> list[Job] | None:
        """The next batch; None when the workers are to end."""
        with self._changed:
            while not self._closed:
                hold_s = self._hold_s()
                if hold_s is None:
                    if jobs := self._taken():
                        return jobs
                    hold_s = LOOK_AGAIN_S
                self._changed.wait(hold_s or None)
        return None

    def _taken(self) -> list[Job]:
        """[] if what was free elsewhere a moment ago is not any more."""
        jobs = self._waiting.take(time.monotonic_ns())
        if jobs and (elsewhere := jobs[0].tail.elsewhere) is not None:
            elsewhere.begin(jobs)
        return jobs

    def _hold_s(self) -> float | None:
        """How long to wait for more: 0 until something comes, None if a batch is to begin."""
        if not self._waiting:
            return 0.0
        if not self._waiting.can_begin:
            return LOOK_AGAIN_S
        linger_ms = self._batching.linger_ms
        if not linger_ms:
            return None
        hold_ms = (self._waiting.hold_until_ns(linger_ms) - time.monotonic_ns()) / 1e6
        # More than ever is held only by frames that came before the clock was set back.
        return hold_ms / 1e3 if 0 < hold_ms <= linger_ms else None

    def _joining(self, rest: Sequence[Part], most: int, own: Tail, most_own: int) -> list[Job]:
        with self._changed:
            return self._waiting.joining(rest, most, own, most_own)

    def _tell(self, done: Sequence[Ending], runs: Sequence[Run]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._finish_all, done, runs)
        except RuntimeError:  # the loop is closed: nobody is left to hear of it
            _logger.info("%d frames ended after the service", len(done))

    def _finish_all(self, done: Sequence[Ending], runs: Sequence[Run]) -> None:
        for job, error in done:
            self._finish(job, error)
        # Two turns of the loop later: whoever waits for an answer does not wait for this.
        self._loop.call_soon(self._loop.call_soon, self._note, runs)

    def _note(self, runs: Sequence[Run]) -> None:
        for part, jobs, took_ms in runs:
            self._ran(part, jobs, took_ms)


def _replied(job: Job) -> Exception | None:
    try:
        job.reply = job.reply_of(job)
    except Exception as error:  # noqa: BLE001 - it is the outcome of this frame
        return error
    return None
