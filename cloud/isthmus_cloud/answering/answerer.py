"""From a frame to its result, whatever carried it here: check, decode, run the tail, encode."""

import asyncio
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from isthmus import ConfigError, IsthmusError, Manifest, SymbolCoder, WireError, encode_answer
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.budget import ByteBudget
from isthmus_cloud.answering.load import LoadGauge
from isthmus_cloud.answering.memory import StreamMemory, Turn
from isthmus_cloud.answering.routes import Route, routes_of
from isthmus_cloud.config import MAX_BYTES_IN_FLIGHT
from isthmus_cloud.engines.onnx_runtime import TailEngine

MAX_ECHO = 60  # characters of a stranger's text that a message repeats

__all__ = ["Answerer", "TooLateError", "UnknownCandidateError"]


class UnknownCandidateError(WireError):
    """The frame names a candidate that no tail answers."""


class TooLateError(IsthmusError):
    """The frame's deadline passed before a worker was free; its tail was not run."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One frame, from its arrival until no thread works on it."""

    memory: StreamMemory
    turn: Turn
    sequence: int
    rung: int
    is_marked: bool
    deadline_ms: int
    received_ns: int
    top_k: int

    def lateness(self, begun_ns: int) -> TooLateError | None:
        """What a frame ends in if it is begun after its deadline, counted from its arrival."""
        waited_ms = (begun_ns - self.received_ns) / 1e6
        if not 0 < self.deadline_ms < waited_ms:
            return None
        return TooLateError(
            f"the frame waited {waited_ms:.0f} ms for a worker, its deadline was "
            f"{self.deadline_ms} ms; it was not run"
        )


class _ThreadCoder(threading.local):
    """zstd contexts are not thread safe: one coder for each worker."""

    def __init__(self) -> None:
        self.coder = SymbolCoder()


class Answerer:
    """Answers the frames of all streams on a few worker threads.

    Neither zstd nor inference ever runs on the event loop. Raises ConfigError where a single frame
    of this plan may take more than `max_bytes_in_flight`.
    """

    def __init__(
        self,
        manifest: Manifest,
        engines: Mapping[str, TailEngine],
        workers: int = 1,
        max_bytes_in_flight: int = MAX_BYTES_IN_FLIGHT,
    ) -> None:
        self._routes = routes_of(manifest, engines)
        _check_room(self._routes, max_bytes_in_flight)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="tail")
        self._local = _ThreadCoder()
        self._gauge = LoadGauge(workers)
        self._budget = ByteBudget(max_bytes_in_flight)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Ids of the candidates that it answers."""
        return tuple(self._routes)

    @property
    def provider(self) -> str:
        """What computes; the first tail speaks for all."""
        return next((route.engine.provider for route in self._routes.values()), "none")

    @property
    def bytes_in_flight(self) -> int:
        """What all streams have in flight; a frame given up counts until no worker has it."""
        return self._budget.taken_bytes

    def load(self) -> pb.Load:
        """What a frame that came now would meet."""
        return pb.Load(frames_waiting=self._gauge.waiting, queue_ms=self._gauge.queue_ms)

    async def quiet(self) -> None:
        """Wait until there is no frame to be answered."""
        await self._gauge.quiet()

    async def answer(
        self, frame: pb.Frame, received_ns: int, top_k: int, memory: StreamMemory
    ) -> pb.Result:
        """The frame's result, its times counted from `received_ns` (monotonic).

        The frames of one stream share its `memory` and are given in order of arrival; they need not
        wait for each other. Raises UnknownCandidateError, KeyFrameNeededError or WireError if the
        frame is wrong, OverloadedError if it does not fit, TooLateError if its deadline passes
        before a worker takes it, ModelError if the tail fails. Cancelling gives up a frame that no
        worker has begun; one that runs is here, for `load` and `quiet`, until its worker is free.
        """
        route = self._route_of(frame)
        taken_bytes = route.frame_bytes(frame)
        self._budget.take(taken_bytes)
        turn = memory.turn(route, frame)
        job = _Job(
            memory=memory,
            turn=turn,
            sequence=frame.sequence,
            rung=frame.rung,
            is_marked=frame.mark > 0,
            deadline_ms=frame.deadline_ms,
            received_ns=received_ns,
            top_k=top_k,
        )
        result = await self._outcome(self._begin(job, taken_bytes))
        result.load.CopyFrom(self.load())
        return result

    async def _outcome(self, working: Future[pb.Result]) -> pb.Result:
        self._gauge.came()
        done = asyncio.wrap_future(working)
        done.add_done_callback(self._note_end)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            working.cancel()
            raise

    def _note_end(self, done: asyncio.Future[pb.Result]) -> None:
        self._gauge.left()
        if not done.cancelled() and done.exception() is None:
            timing = done.result().timing
            self._gauge.learn(timing.decode_ms + timing.run_ms)

    def _route_of(self, frame: pb.Frame) -> Route:
        route = self._routes.get(frame.candidate)
        if route is None:
            raise UnknownCandidateError(
                f"no tail for candidate {frame.candidate[:MAX_ECHO]!r}; "
                f"this service answers {', '.join(self._routes)}"
            )
        return route

    def _begin(self, job: _Job, taken_bytes: int) -> Future[pb.Result]:
        """Into the queue; its bytes count until it is done, or given up before it was begun."""

        def let_go(_done: Future[pb.Result]) -> None:
            job.turn.give_up()  # the pool holds a cancelled job until a worker comes by
            self._budget.give_back(taken_bytes)

        future = self._threads.submit(self._work, job)
        future.add_done_callback(let_go)
        return future

    def _work(self, job: _Job) -> pb.Result:
        begun_ns = time.monotonic_ns()
        lateness = job.lateness(begun_ns)
        if lateness is not None and not job.is_marked:
            raise lateness
        tensors = job.memory.decode(job.turn, self._local.coder)
        if lateness is not None:  # but later frames may refer to it
            raise lateness
        decoded_ns = time.monotonic_ns()
        route = job.turn.route
        outputs = route.run(job.rung, tensors)
        run_ns = time.monotonic_ns()
        answers = [
            encode_answer(spec, output, job.top_k)
            for spec, output in zip(route.outputs, outputs, strict=True)
        ]
        timing = pb.Timing(
            received_ns=job.received_ns,
            queue_ms=(begun_ns - job.received_ns) / 1e6,
            decode_ms=(decoded_ns - begun_ns) / 1e6,
            run_ms=(run_ns - decoded_ns) / 1e6,
            total_ms=(time.monotonic_ns() - job.received_ns) / 1e6,
        )
        return pb.Result(sequence=job.sequence, outputs=answers, timing=timing)


def _check_room(routes: Mapping[str, Route], max_bytes_in_flight: int) -> None:
    """A frame that can never be taken is known before devices come."""
    for name, route in routes.items():
        if route.max_bytes > max_bytes_in_flight:
            raise ConfigError(
                f"max_bytes_in_flight is {max_bytes_in_flight}, but a frame of candidate {name!r} "
                f"takes up to {route.max_bytes}; allow at least that"
            )
