"""ONNX Runtime as it is measured: the very options that a frame is answered with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort

from isthmus import ModelError
from isthmus_edge.device.runtime import RUNTIME_ERRORS, AnyArray

__all__ = ["PROVIDER", "AnyArray", "Feed", "Measured"]

Feed = Mapping[str, AnyArray]
PROVIDER = "CPUExecutionProvider"

# MemoryError is the runtime's bad_alloc.
_FAILURES: tuple[type[Exception], ...] = (*RUNTIME_ERRORS, MemoryError)


class Measured:
    """One ONNX file of a kit, loaded; `profile` begins the names of files for its profiler.

    Raises ModelError for a file that this runtime cannot load or run.
    """

    def __init__(self, path: Path, threads: int, profile: Path | None = None) -> None:
        self._name = path.name
        try:
            self._session: Any = ort.InferenceSession(
                str(path), _options(threads, profile), providers=[PROVIDER]
            )
        except _FAILURES as error:
            raise ModelError(
                f"{path.name}: ONNX Runtime {ort.__version__} cannot load it: {_first_line(error)}"
            ) from error
        self._inputs = [value.name for value in self._session.get_inputs()]

    def run(self, feed: Feed) -> None:
        """Compute all outputs for one item of the kit."""
        try:
            self._session.run(None, {name: feed[name] for name in self._inputs})
        except _FAILURES as error:
            raise ModelError(f"{self._name}: the runtime failed: {_first_line(error)}") from error
        except KeyError as error:
            raise ModelError(
                f"{self._name}: reads {error}, which the kit has no items of"
            ) from error

    def events(self) -> bytes:
        """Stop the profiler; what it wrote, as JSON."""
        return Path(self._session.end_profiling()).read_bytes()


def _options(threads: int, profile: Path | None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return options


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
