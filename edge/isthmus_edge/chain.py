"""The device's one model: a chain of segments on ONNX Runtime. A cut is "run the first i"."""

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from isthmus import Bundle, ModelError, Segment

__all__ = ["Chain"]

AnyArray = NDArray[np.generic]


class Chain:
    """All segments loaded, ready for any cut: switching costs nothing."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads would burn the battery between two frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._segments = bundle.manifest.segments
        self._sessions = [_load(bundle, segment, options) for segment in self._segments]

    def head(self, tensor: AnyArray, depth: int) -> AnyArray:
        """The boundary tensor after the first `depth` segments, from the model's input."""
        for i in range(depth):
            (tensor,) = self._run(i, tensor)
        return tensor

    def finish(self, tensor: AnyArray, depth: int) -> tuple[AnyArray, ...]:
        """The model's outputs, from the boundary tensor that `head(…, depth)` gave."""
        last = len(self._sessions) - 1
        for i in range(depth, last):
            (tensor,) = self._run(i, tensor)
        return self._run(last, tensor)

    def _run(self, i: int, tensor: AnyArray) -> tuple[AnyArray, ...]:
        segment = self._segments[i]
        try:
            return tuple(self._sessions[i].run(None, {segment.input.name: tensor}))
        except _RUNTIME_ERRORS as error:
            raise ModelError(f"{segment.file}: the device's runtime failed: {error}") from error


def _load(bundle: Bundle, segment: Segment, options: Any) -> Any:
    try:
        return ort.InferenceSession(
            bundle.file(segment.file), options, providers=["CPUExecutionProvider"]
        )
    except _RUNTIME_ERRORS as error:
        raise ModelError(
            f"{segment.file}: ONNX Runtime {ort.__version__} cannot load it: {error}; "
            "install a newer onnxruntime, or build the bundle on this device"
        ) from error


# What ONNX Runtime raises has no common base class of its own.
_RUNTIME_ERRORS = (
    ort.capi.onnxruntime_pybind11_state.Fail,
    ort.capi.onnxruntime_pybind11_state.InvalidArgument,
    ort.capi.onnxruntime_pybind11_state.InvalidGraph,
    ort.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    ort.capi.onnxruntime_pybind11_state.NoSuchFile,
    ort.capi.onnxruntime_pybind11_state.NotImplemented,
    ort.capi.onnxruntime_pybind11_state.RuntimeException,
)
