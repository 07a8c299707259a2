"""Graphs on ONNX Runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from isthmus import ModelError
from isthmus_cloud.engines.seam import AnyArray, Value

CPU = "CPUExecutionProvider"

__all__ = ["CPU", "OnnxEngine", "OnnxProgram"]

_ORT_FAILURES: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.EngineError,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,  # a feed of a type that it cannot take
    ValueError,  # a provider or input that it does not know
)


class OnnxProgram:
    """One graph in an ONNX Runtime session."""

    sizes: tuple[int, ...] = ()

    def __init__(self, path: Path, provider: str, threads: int) -> None:
        self._path = path
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; its warnings concern whoever built the graph
        # Every graph has its own threads: those of the idle ones must not spin.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = [provider] if provider == CPU else [provider, CPU]
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except _ORT_FAILURES as error:
            raise ModelError(
                f"{path}: ONNX Runtime {ort.__version__} cannot load this tail: {error}; "
                "build the bundle again with the version that runs here"
            ) from error
        self._inputs = {node.name: str(node.type) for node in self._session.get_inputs()}
        self._outputs = tuple(node.name for node in self._session.get_outputs())

    @property
    def provider(self) -> str:
        """The provider that is really in use: ONNX Runtime falls back without a word."""
        return str(self._session.get_providers()[0])

    @property
    def inputs(self) -> Mapping[str, str]:
        """See `Program.inputs`."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """See `Program.outputs`."""
        return self._outputs

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        """See `Program.run`."""
        try:
            outputs: Sequence[Value] = self._session.run(None, dict(feeds))
        except _ORT_FAILURES as error:
            raise ModelError(f"{self._path}: ONNX Runtime failed on a frame: {error}") from error
        return outputs


class OnnxEngine:
    """ONNX Runtime with one provider."""

    def __init__(self, provider: str = CPU, threads: int = 1) -> None:
        self._provider = provider
        self._threads = threads

    @property
    def provider(self) -> str:
        """See `Engine.provider`."""
        return self._provider

    def load(self, path: Path) -> OnnxProgram:
        """See `Engine.load`."""
        return OnnxProgram(path, self._provider, self._threads)

    def join(self, values: Sequence[Value], axis: int) -> Value:
        """See `Engine.join`."""
        return np.concatenate([self.to_host(value) for value in values], axis)

    def to_host(self, value: Value) -> AnyArray:
        """See `Engine.to_host`."""
        return np.asarray(value)

    def close(self) -> None:
        """See `Engine.close`."""
