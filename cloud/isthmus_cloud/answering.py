"""From a frame to its result, whatever carried it here: check, decode, run the tail, encode."""

import asyncio
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from isthmus import (
    Candidate,
    Encoding,
    Manifest,
    SymbolCoder,
    Symbols,
    TensorSpec,
    WireError,
    decode_tensor,
    encode_answer,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.engines import TailEngine
from isthmus_cloud.load import LoadGauge

MAX_ECHO = 60  # characters of a stranger's text that a message repeats

__all__ = ["Answerer", "UnknownCandidateError"]


class UnknownCandidateError(WireError):
    """The frame names a candidate that no tail answers."""


@dataclass(frozen=True, slots=True)
class _Route:
    """How the frames of one candidate are answered."""

    candidate: str
    spec: TensorSpec
    encoding: Encoding
    step: float
    zero_point: int
    engine: TailEngine


class _ThreadCoder(threading.local):
    """zstd contexts are not thread safe: one coder for each worker."""

    def __init__(self) -> None:
        self.coder = SymbolCoder()


class Answerer:
    """Answers the frames of all streams on a few worker threads.

    Neither zstd nor inference ever runs on the event loop.
    """

    def __init__(
        self, manifest: Manifest, engines: Mapping[str, TailEngine], workers: int = 1
    ) -> None:
        routes = (_route(manifest, candidate, engines) for candidate in manifest.candidates)
        self._routes = {route.candidate: route for route in routes if route is not None}
        self._outputs = manifest.outputs
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="tail")
        self._local = _ThreadCoder()
        self._gauge = LoadGauge(workers)

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

    def load(self) -> pb.Load:
        """What a frame that came now would meet."""
        return pb.Load(frames_waiting=self._gauge.waiting, queue_ms=self._gauge.queue_ms)

    async def answer(self, frame: pb.Frame, received_ns: int, top_k: int) -> pb.Result:
        """The frame's result, its times counted from `received_ns` (monotonic).

        Raises UnknownCandidateError or WireError if the frame is wrong, ModelError if the tail
        is. Cancelling gives up a frame that no worker has begun.
        """
        route = self._route_of(frame)
        loop = asyncio.get_running_loop()
        with self._gauge.frame():
            result = await loop.run_in_executor(
                self._threads, self._work, route, frame, received_ns, top_k
            )
        self._gauge.learn(result.timing.decode_ms + result.timing.run_ms)
        result.load.CopyFrom(self.load())
        return result

    def _route_of(self, frame: pb.Frame) -> _Route:
        route = self._routes.get(frame.candidate)
        if route is None:
            raise UnknownCandidateError(
                f"no tail for candidate {frame.candidate[:MAX_ECHO]!r}; "
                f"this service answers {', '.join(self._routes)}"
            )
        names = [tensor.name[:MAX_ECHO] for tensor in frame.tensors[:2]]
        if names != [route.spec.name]:
            raise WireError(
                f"candidate {route.candidate!r} carries one tensor, {route.spec.name!r}; "
                f"the frame has {len(frame.tensors)}: {', '.join(map(repr, names))}"
            )
        return route

    def _work(self, route: _Route, frame: pb.Frame, received_ns: int, top_k: int) -> pb.Result:
        begun_ns = time.monotonic_ns()
        try:
            tensor = decode_tensor(frame.tensors[0], route.spec, route.encoding, self._local.coder)
        except WireError as error:
            where = f"tensor {route.spec.name!r}"
            what = str(error).removeprefix(f"{where}: ")
            raise WireError(f"{where} of candidate {route.candidate!r}: {what}") from error
        decoded_ns = time.monotonic_ns()
        outputs = route.engine.run(tensor, route.step, route.zero_point)
        run_ns = time.monotonic_ns()
        answers = [
            encode_answer(spec, output[0:1], top_k)
            for spec, output in zip(self._outputs, outputs, strict=True)
        ]
        timing = pb.Timing(
            received_ns=received_ns,
            queue_ms=(begun_ns - received_ns) / 1e6,
            decode_ms=(decoded_ns - begun_ns) / 1e6,
            run_ms=(run_ns - decoded_ns) / 1e6,
            total_ms=(time.monotonic_ns() - received_ns) / 1e6,
        )
        return pb.Result(sequence=frame.sequence, outputs=answers, timing=timing)


def _route(
    manifest: Manifest, candidate: Candidate, engines: Mapping[str, TailEngine]
) -> _Route | None:
    cut = manifest.cut_of(candidate)
    if cut.tensor is None or candidate.encoding is None:
        return None
    step, zero_point = 1.0, 0
    if isinstance(candidate.encoding, Symbols):
        step, zero_point = candidate.encoding.step, candidate.encoding.zero_point
    elif cut.quantisation is not None:
        step, zero_point = cut.quantisation.scale, cut.quantisation.zero_point
    return _Route(candidate.id, cut.tensor, candidate.encoding, step, zero_point, engines[cut.id])
