"""Where the frames of all models are taken in and answered: bounds, a queue, and the workers.

What is taken in ends in exactly one result or error. What could not be answered in time anyway is
refused at once, so that the device can help itself.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from isthmus import ConfigError, ModelError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.budget import ByteBudget, OverloadedError
from isthmus_cloud.answering.flow import Ran
from isthmus_cloud.answering.jobs import NEVER_NS, Job, TooLateError
from isthmus_cloud.answering.load import LoadGauge
from isthmus_cloud.answering.parts import Part, Tail
from isthmus_cloud.answering.picture_room import PictureRoom
from isthmus_cloud.answering.unread import Unread, UnreadRoom
from isthmus_cloud.answering.workers import Batching, Workers

END_WITHIN_S = 10.0  # what runs when nobody wants it any more; then it hangs

__all__ = ["Desk", "DeskLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskLimits:
    """What is taken in at the same time: frames that wait, and bytes of all that are here: of
    payloads, the tensors that they decode to, and answers."""

    max_waiting: int = 1024
    max_bytes_in_flight: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("max_waiting", "max_bytes_in_flight"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")


def _nobody(_part: Part, _jobs: Sequence[Job], _took_ms: float) -> None:
    """No one wants to hear of runs."""


class Desk:
    """Made and used on one event loop; as a context, its workers end with it."""

    def __init__(
        self,
        limits: DeskLimits | None = None,
        batching: Batching | None = None,
        ran: Ran[Job] = _nobody,
    ) -> None:
        self.limits = limits or DeskLimits()
        batching = batching or Batching()
        self._loop = asyncio.get_running_loop()
        self._budget = ByteBudget(self.limits.max_bytes_in_flight)
        self._unread = UnreadRoom(self._budget, self.limits.max_bytes_in_flight)
        self.picture_room = PictureRoom(self.limits.max_bytes_in_flight)
        self._gauge = LoadGauge(batching.workers)
        self._here: set[Job] = set()
        self._workers = Workers(batching, self._finished, ran)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self, within_s: float = END_WITHIN_S) -> None:
        """Finish what runs, begin nothing more; what is left then ends in an error. Blocks until
        the workers have ended, or for `within_s` if one of them hangs."""
        self.picture_room.close()
        self._workers.close(within_s)
        self.give_up()

    def give_up(self) -> None:
        """All frames that are here end in an error now; one that a worker has still counts."""
        for job in tuple(self._here):
            self._given_up(job)
            if not job.done.done():
                job.done.set_exception(OverloadedError("the service ends; send it elsewhere"))
                job.done.exception()  # or asyncio would complain where nobody waits any more

    @property
    def bytes_in_flight(self) -> int:
        """What all frames that are here take, and the outcomes that nobody has read; a frame that
        was given up counts until no worker has it."""
        return self._budget.taken_bytes

    def unread(self) -> Unread:
        """For the outcomes of one session: what nobody has read takes memory, too."""
        return self._unread.session()

    @property
    def waiting(self) -> int:
        """Frames that no worker has begun."""
        return self._workers.waiting

    def load(self) -> pb.Load:
        """What a frame that came now would meet."""
        return pb.Load(frames_waiting=self._workers.waiting, queue_ms=self._gauge.queue_ms)

    def forget(self, tails: Iterable[Tail]) -> None:
        """No frame of these tails will come any more; those that wait still end in an error, soon.
        From any thread, as long as the loop runs."""
        for job in self._workers.forget(tails):
            error = ModelError("the version of the model that it was for is gone")
            self._loop.call_soon_threadsafe(self._finished, job, error)

    async def quiet(self) -> None:
        """Wait until there is no frame to be answered."""
        await self._gauge.quiet()

    def admit(self, client: object, taken_bytes: int, deadline_ns: int) -> None:
        """Count a frame's bytes; OverloadedError, which says when to come back, if it does not fit
        or the queue is so long that it could not be in time.

        Where the queue or the memory is full, the latest frames of whoever has most waiting make
        room; answers that nobody reads do for what they take beyond their share.
        """
        self._check_in_time(client, deadline_ns)
        places, wait_ms = self._places_lacking, 0.0
        lacking_bytes = taken_bytes - self._budget.free_bytes
        if places > 0 or lacking_bytes > 0:
            wait_ms = self._wait_ms(client) or self._gauge.queue_ms
            self._make_room(client, places, lacking_bytes, wait_ms)
        self._budget.take(taken_bytes, wait_ms)

    def check(self, client: object, deadline_ns: int) -> None:
        """OverloadedError, as from `admit`, if a frame of this client would not get into the queue
        now; for what is still to be prepared for it."""
        self._check_in_time(client, deadline_ns)
        places = self._places_lacking
        if places > 0 and not self._workers.room(client, places, 0):
            raise OverloadedError(self._full, retry_after_ms=self._wait_ms(client))

    def begin(self, job: Job) -> None:
        """A frame that was admitted goes into the queue."""
        self._gauge.came()
        self._here.add(job)
        elsewhere = job.tail.elsewhere
        if elsewhere is not None:
            self._gauge.workers = elsewhere.at_once
            self._end_in_time(job)
        job.done.add_done_callback(lambda done: self._given_up(job) if done.cancelled() else None)
        self._workers.put(job)

    def _end_in_time(self, job: Job) -> None:
        """Nobody here knows how long another process takes: at its deadline the frame has ended."""
        if job.deadline_ns == NEVER_NS:
            return
        left_s = (job.deadline_ns - time.monotonic_ns()) / 1e9
        timer = self._loop.call_later(max(left_s, 0.0), self._too_late, job)
        job.done.add_done_callback(lambda _: timer.cancel())

    def _too_late(self, job: Job) -> None:
        if not job.done.done():
            job.done.set_exception(TooLateError("the frame's deadline passed before its answer"))
            self._given_up(job)

    @property
    def _places_lacking(self) -> int:
        """How many frames too many wait if one more comes."""
        return self._workers.waiting + 1 - self.limits.max_waiting

    @property
    def _full(self) -> str:
        return f"{self.limits.max_waiting} frames wait, which is the most"

    def _check_in_time(self, client: object, deadline_ns: int) -> None:
        """OverloadedError if a frame of this client would wait for longer than it has."""
        if not self._workers.waiting or deadline_ns == NEVER_NS:
            return
        left_ms = max(0.0, (deadline_ns - time.monotonic_ns()) / 1e6)
        if 0 < self._gauge.queue_ms <= left_ms:  # behind all; the turns need not be looked at
            return
        wait_ms = self._wait_ms(client)
        if 0 < wait_ms > left_ms:
            raise OverloadedError(
                f"a frame waits {wait_ms:.0f} ms at present, this one has {left_ms:.0f} ms "
                "left; it was not run",
                retry_after_ms=wait_ms,
            )

    def _wait_ms(self, client: object) -> float:
        """Until a frame that came now would be begun: those that go before it, in batches as they
        pay; those that run are taken to be like them."""
        waiting = self._workers.waiting
        ahead, took_ms = self._workers.ahead(client)
        running = max(0, self._gauge.here - waiting)
        return self._gauge.wait_ms(ahead + running, took_ms / max(1, ahead))

    def _make_room(self, client: object, places: int, lacking_bytes: int, wait_ms: float) -> None:
        """Others end for a frame of this client: unread answers for what those take beyond their
        share, frames for the rest. Where that does not help, none does, and it is refused: for the
        queue here, for the bytes by the budget."""
        due_bytes = max(0, min(lacking_bytes, self._unread.surplus_bytes))
        shed = self._unread.excess(due_bytes)
        if due_bytes and not shed:
            return
        if places > 0 or lacking_bytes > due_bytes:
            crowding = self._workers.make_room(client, places, lacking_bytes - due_bytes)
            text = self._full
            if not crowding and places > 0:
                raise OverloadedError(text, retry_after_ms=wait_ms)
            if not crowding:
                return
            if places <= 0:
                text = "the memory for frames was needed for another client's; send it again later"
            for job in crowding:
                self._finished(job, OverloadedError(text, retry_after_ms=wait_ms))
        for unread, sequence in shed:
            unread.shed(sequence)

    def _given_up(self, job: Job) -> None:
        """The device does not wait for it any more; a worker may have it."""
        if self._workers.give_up(job):
            job.turn.give_up()
            self._left(job)

    def _finished(self, job: Job, error: Exception | None) -> None:
        """A worker has done with it."""
        self._left(job)
        job.turn.give_up()
        if error is None:
            self._gauge.learn(job.run_ms / job.batch + (job.decoded_ns - job.begun_ns) / 1e6)
        if job.done.done():
            return
        if error is not None:
            job.done.set_exception(error)
            return
        job.done.set_result(job.reply)

    def _left(self, job: Job) -> None:
        self._gauge.left()
        self._here.discard(job)
        self._budget.give_back(job.taken_bytes)
