"""ONNX Runtime as the partitioner uses it: sessions, whole picture sets, and honest timing."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from isthmus import ModelError
from isthmus_partitioner.config import UInt8Array

__all__ = [
    "RUNTIME_ERRORS",
    "AnyArray",
    "Session",
    "all_cores",
    "interleaved_ms",
    "open_session",
    "pictures_feed",
    "run_batches",
    "session_options",
]

AnyArray = NDArray[np.generic]


class Session(Protocol):
    """What is used of ONNX Runtime's InferenceSession, which has no types of its own."""

    def run(self, outputs: list[str] | None, feeds: Mapping[str, AnyArray]) -> list[AnyArray]:
        """The named outputs, or all of them."""
        ...

    def get_inputs(self) -> list[ort.NodeArg]:
        """Names, types and shapes of the inputs."""
        ...

    def end_profiling(self) -> str:
        """Stop profiling; the path of the profile."""
        ...


# ONNX Runtime's exceptions share no base class of their own.
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
_BATCH = 4  # beyond it the activations of early layers leave the caches


def all_cores() -> int:
    """Threads of a cloud-side session."""
    return os.cpu_count() or 1


def session_options(threads: int) -> ort.SessionOptions:
    """Quiet, and without threads that spin beside whatever else is being timed."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(
    model: onnx.ModelProto | Path, *, threads: int, options: ort.SessionOptions | None = None
) -> Session:
    """A CPU session; ModelError if the runtime refuses the model."""
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    try:
        options = options or session_options(threads)
        session = ort.InferenceSession(source, options, ["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise ModelError(f"ONNX Runtime refuses a part of the model: {error}") from error
    return cast(Session, session)


def run_batches(session: Session, feeds: Mapping[str, AnyArray]) -> list[AnyArray]:
    """All outputs for all items, a few at a time.

    Feeds with a first dimension are split along it; scalars go to every batch as they are.
    """
    count = max(len(feed) for feed in feeds.values() if feed.ndim)
    batches = (
        {name: feed[i : i + _BATCH] if feed.ndim else feed for name, feed in feeds.items()}
        for i in range(0, count, _BATCH)
    )
    try:
        parts = [session.run(None, batch) for batch in batches]
    except RUNTIME_ERRORS as error:
        raise ModelError(f"ONNX Runtime cannot run a part of the model: {error}") from error
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def interleaved_ms(
    runs: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """The median time in ms of each run over rounds in which all of them take turns.

    With `time.thread_time` as the clock and one thread, neighbours on the machine hardly count.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            start = clock()
            run()
            times[name].append((clock() - start) * 1e3)
    return {name: float(np.median(taken)) for name, taken in times.items()}


def pictures_feed(session: Session, pictures: UInt8Array) -> dict[str, AnyArray]:
    """Pictures under the name of the session's only input."""
    return {session.get_inputs()[0].name: pictures}
