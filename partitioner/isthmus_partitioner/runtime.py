"""ONNX Runtime as the partitioner uses it: sessions, whole picture sets, and honest timing."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from isthmus import ModelError, TensorSpec
from isthmus.exact_sums import with_exact_sums
from isthmus_partitioner.graph.files import INLINE_LIMIT_BYTES, save_model, weight_bytes

__all__ = [
    "RUNTIME_ERRORS",
    "AnyArray",
    "Session",
    "all_cores",
    "inference_session",
    "interleaved_ms",
    "open_session",
    "run_batches",
    "run_items",
    "run_one",
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

    def get_outputs(self) -> list[ort.NodeArg]:
        """Names, types and shapes of the outputs."""
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


def inference_session(source: str | bytes, options: ort.SessionOptions) -> Session:
    """On the CPU, with exact sums of integers. Raises one of RUNTIME_ERRORS."""
    session = with_exact_sums(
        options,
        lambda: ort.InferenceSession(source, options, ["CPUExecutionProvider"]),
        RUNTIME_ERRORS,
    )
    return cast(Session, session)


def open_session(
    model: onnx.ModelProto | Path,
    *,
    threads: int,
    options: ort.SessionOptions | None = None,
    limit_bytes: int = INLINE_LIMIT_BYTES,
) -> Session:
    """A CPU session; ModelError if the runtime refuses the model.

    A model with more than `limit_bytes` of weights goes through a temporary folder (TMPDIR), for
    protobuf cannot serialise it.
    """
    options = options or session_options(threads)
    if isinstance(model, Path):
        return _opened(str(model), options)
    if weight_bytes(model) <= limit_bytes:
        return _opened(model.SerializeToString(), options)
    try:
        with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
            path = Path(folder) / "model.onnx"
            save_model(model, path, limit_bytes=limit_bytes)
            return _opened(str(path), options)
    except OSError as error:
        raise ModelError(
            f"the temporary folder cannot hold {weight_bytes(model):,} bytes of weights "
            f"({error.strerror or error}); name one with room in TMPDIR"
        ) from error


def _opened(source: str | bytes, options: ort.SessionOptions) -> Session:
    try:
        return inference_session(source, options)
    except RUNTIME_ERRORS as error:
        raise ModelError(f"ONNX Runtime refuses a part of the model: {error}") from error


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


def run_one(session: Session, feed: Mapping[str, AnyArray], names: Sequence[str]) -> list[AnyArray]:
    """The named outputs for one item; ModelError if the runtime fails."""
    try:
        return session.run(list(names), feed)
    except RUNTIME_ERRORS as error:
        raise ModelError(f"ONNX Runtime cannot run a part of the model: {error}") from error


def run_items(
    session: Session, feeds: Iterable[Mapping[str, AnyArray]], specs: Sequence[TensorSpec]
) -> dict[str, AnyArray]:
    """Run items one by one; each of `specs` (outputs of the session) as [n,*shape].

    An output whose size is not what its spec says is a ModelError.
    """
    names = [spec.name for spec in specs]
    rows: list[list[AnyArray]] = []
    try:
        for feed in feeds:
            results = run_one(session, feed, names)
            rows.append([r.reshape(s.shape) for r, s in zip(results, specs, strict=True)])
    except ValueError as error:
        raise ModelError(f"an output has another size than was inferred ({error})") from error
    return {
        name: np.stack(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def interleaved_ms(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float],
    pause_s: float = 0.0,
) -> dict[str, float]:
    """The median time in ms of each run over rounds in which all of them take turns.

    With `time.thread_time` as the clock and one thread, neighbours on the machine hardly count.
    With a pause before each run it takes what a single frame takes: after 20 ms of rest, two
    threads were 12 to 37 % slower than in a loop.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(pause_s)
            start = clock()
            run()
            times[name].append((clock() - start) * 1e3)
    return {name: float(np.median(taken)) for name, taken in times.items()}
