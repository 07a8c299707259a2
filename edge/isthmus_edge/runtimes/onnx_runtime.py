"""ONNX Runtime as a device uses it, and what it raises in our own words."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from isthmus import ModelError
from isthmus.exact_sums import with_exact_sums
from isthmus_edge.runtimes.growth import Growth
from isthmus_edge.runtimes.seam import AnyArray, CallOffLike, Graph, GraphFiles, RuntimeName

__all__ = ["RUNTIME_ERRORS", "OnnxRuntime", "first_line", "open_session", "session_options"]

# ONNX Runtime's exceptions share no base class of their own; MemoryError is its bad_alloc.
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    MemoryError,
)


def session_options(threads: int) -> ort.SessionOptions:
    """Those that a frame is answered with."""
    _share_arena()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised
    # Spinning threads would burn the battery between two frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


def open_session(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    """On the CPU, with exact sums of integers. Raises one of RUNTIME_ERRORS."""
    source, providers = str(path), ["CPUExecutionProvider"]
    return with_exact_sums(
        options, lambda: ort.InferenceSession(source, options, providers), RUNTIME_ERRORS
    )


@cache
def _share_arena() -> None:
    """One arena for all sessions of this process, once: segments run one after the other.

    With one for each, a chain of eight takes 1.4 times the memory of the whole network in fp32,
    with one for all 1.06 times (`isthmus bench edge`).
    """
    about = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    ort.create_and_register_allocator(about, None)


class OnnxRuntime:
    """Runs every graph in its ONNX form."""

    name: RuntimeName = "onnxruntime"
    version: str = ort.__version__

    def refusal(self, files: GraphFiles) -> str | None:
        """Every graph has an ONNX form."""
        return None

    def load(self, files: GraphFiles, threads: int) -> Graph:
        """A session of its own; ModelError if the file is no model for this version."""
        return _OnnxGraph(files, threads)

    def describe(self) -> str:
        """In words."""
        return f"ONNX Runtime {self.version}, CPU"


class _OnnxGraph:
    def __init__(self, files: GraphFiles, threads: int) -> None:
        self.file = files.onnx
        path = files.folder / files.onnx
        growth = Growth(path)
        try:
            self._session = open_session(path, session_options(threads))
        except RUNTIME_ERRORS as error:
            raise ModelError(
                f"{self.file}: ONNX Runtime {ort.__version__} cannot load it: {first_line(error)}; "
                "install a newer onnxruntime, or build the bundle on this device"
            ) from error
        self.memory_bytes = growth.bytes_now()
        self._check_names(files)

    def run(
        self,
        feeds: Mapping[str, AnyArray],
        wanted: Sequence[str],
        call_off: CallOffLike | None = None,
    ) -> tuple[AnyArray, ...]:
        """Stops between two nodes when it is called off."""
        options = None
        if call_off is not None:
            options = ort.RunOptions()
            call_off.stops(partial(setattr, options, "terminate", True))
        try:
            return tuple(self._session.run(list(wanted), dict(feeds), options))
        except RUNTIME_ERRORS as error:
            raise ModelError(
                f"{self.file}: the device's runtime failed: {first_line(error)}"
            ) from error

    def _check_names(self, files: GraphFiles) -> None:
        given = [value.name for value in self._session.get_inputs()]
        made = [value.name for value in self._session.get_outputs()]
        said = [spec.name for spec in files.inputs], [spec.name for spec in files.outputs]
        if set(given) != set(said[0]) or not set(said[1]) <= set(made):
            raise ModelError(
                f"{self.file}: goes from {given} to {made}, the manifest says from {said[0]} to "
                f"{said[1]}; build the bundle again"
            )


def first_line(error: Exception) -> str:
    """What is worth telling of a foreign exception."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
