"""ONNX Runtime as the device uses it, and what it raises in our own words."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from isthmus import Bundle, ModelError
from isthmus_edge.device.calloff import CallOff

__all__ = ["RUNTIME_ERRORS", "AnyArray", "Graph"]

AnyArray = NDArray[np.generic]

# ONNX Runtime's exceptions share no base class of their own.
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class Graph:
    """One ONNX file of a bundle, loaded once and run over and over."""

    def __init__(self, bundle: Bundle, file: str, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads would burn the battery between two frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.file = file
        try:
            self._session = ort.InferenceSession(
                bundle.file(file), options, providers=["CPUExecutionProvider"]
            )
        except RUNTIME_ERRORS as error:
            raise ModelError(
                f"{file}: ONNX Runtime {ort.__version__} cannot load it: {error}; "
                "install a newer onnxruntime, or build the bundle on this device"
            ) from error
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self.outputs = tuple(value.name for value in self._session.get_outputs())

    def run(
        self,
        feeds: Mapping[str, AnyArray],
        wanted: Sequence[str],
        call_off: CallOff | None = None,
    ) -> tuple[AnyArray, ...]:
        """The `wanted` outputs for all inputs by name.

        ModelError if the runtime fails, or stops between two nodes because it was called off.
        """
        options = None
        if call_off is not None:
            options = ort.RunOptions()
            call_off.stops(partial(setattr, options, "terminate", True))
        try:
            return tuple(self._session.run(list(wanted), dict(feeds), options))
        except RUNTIME_ERRORS as error:
            raise ModelError(f"{self.file}: the device's runtime failed: {error}") from error
