"""LiteRT and its predecessor tflite-runtime: one interface, two packages.

Inside, a convolution's tensors are [N,H,W,C] and quantised tensors int8; outside, everything is as
the manifest says. Between two graphs of a chain that costs no copy but the one for the sign: what
comes out is a view in the manifest's layout of memory that is channels last, as the next graph
takes it. A run cannot be called off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from isthmus import ModelError, TensorSpec
from isthmus_edge.runtimes.growth import Growth
from isthmus_edge.runtimes.seam import AnyArray, CallOffLike, Graph, GraphFiles, RuntimeName

# The interpreter's own exceptions are these; SystemError comes from tflite-runtime under numpy 2.
TFLITE_ERRORS = (RuntimeError, ValueError, TypeError, SystemError, MemoryError, OSError)

_SIGN = np.uint8(0x80)

__all__ = ["TFLITE_ERRORS", "TfliteRuntime"]


class TfliteRuntime:
    """Runs graphs in their TFLite form with the interpreter of one of the two packages."""

    def __init__(self, name: RuntimeName, version: str, interpreter: ModuleType) -> None:
        self.name: RuntimeName = name
        self.version = version
        self._interpreter = interpreter

    def refusal(self, files: GraphFiles) -> str | None:
        """A graph whose operators TFLite does not cover stays ONNX."""
        return files.refused_by(self.name)

    def load(self, files: GraphFiles, threads: int) -> Graph:
        """An interpreter of its own over the mapped file; ModelError if it is no model for it."""
        problem = self.refusal(files)
        if problem is not None:
            raise ModelError(f"{problem}: use onnxruntime for it (--runtime auto)")
        return _TfliteGraph(self, files, self._interpreter, threads)

    def describe(self) -> str:
        """In words."""
        title = {"litert": "LiteRT", "tflite-runtime": "tflite-runtime"}[self.name]
        return f"{title} {self.version}, CPU"


@dataclass(frozen=True, slots=True)
class _Port:
    """One input or output: what the manifest calls it, and what the interpreter has for it."""

    spec: TensorSpec
    index: int
    is_channels_last: bool
    is_shifted: bool  # int8 for what the manifest has as uint8

    def inward(self, tensor: AnyArray) -> AnyArray:
        if self.is_shifted:
            tensor = np.bitwise_xor(tensor.view(np.uint8), _SIGN).view(np.int8)
        if self.is_channels_last:
            tensor = tensor.transpose(0, 2, 3, 1)
        return np.asarray(tensor, order="C")  # ascontiguousarray gives scalars a dimension

    def outward(self, tensor: AnyArray) -> AnyArray:
        if self.is_shifted:
            tensor = np.bitwise_xor(tensor.view(np.uint8), _SIGN)
        if self.is_channels_last:
            tensor = tensor.transpose(0, 3, 1, 2)
        return tensor


class _TfliteGraph:
    def __init__(
        self, runtime: TfliteRuntime, files: GraphFiles, module: ModuleType, threads: int
    ) -> None:
        assert files.tflite is not None  # `load` has looked
        self.file = files.tflite.file
        path = files.folder / self.file
        growth = Growth(path)
        try:
            self._interpreter: Any = module.Interpreter(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except TFLITE_ERRORS as error:
            raise ModelError(
                f"{self.file}: {runtime.describe()} cannot load it: {error}; use another runtime "
                "(--runtime onnxruntime), or build the bundle again"
            ) from error
        self.memory_bytes = growth.bytes_now()
        self._inputs = self._ports(files.inputs, inputs, files.tflite.channels_last)
        # Where nobody says what comes out, nobody reads it: it is run to be timed.
        made = (
            self._ports(files.outputs, outputs, files.tflite.channels_last) if files.outputs else ()
        )
        self._outputs = {port.spec.name: port for port in made}

    def run(
        self,
        feeds: Mapping[str, AnyArray],
        wanted: Sequence[str],
        call_off: CallOffLike | None = None,
    ) -> tuple[AnyArray, ...]:
        """To its end, even where nobody waits any more."""
        try:
            for port in self._inputs:
                self._interpreter.set_tensor(port.index, port.inward(feeds[port.spec.name]))
            self._interpreter.invoke()
            ports = [self._outputs[name] for name in wanted]
            return tuple(p.outward(self._interpreter.get_tensor(p.index)) for p in ports)
        except TFLITE_ERRORS as error:
            raise ModelError(f"{self.file}: the device's runtime failed: {error}") from error

    def _ports(
        self, specs: Sequence[TensorSpec], details: Sequence[Mapping[str, Any]], last: Sequence[str]
    ) -> tuple[_Port, ...]:
        if len(specs) != len(details):
            raise ModelError(
                f"{self.file}: {len(details)} tensors where the manifest has {len(specs)}; build "
                "the bundle again"
            )
        pairs = zip(specs, details, strict=True)
        return tuple(self._port(spec, detail, spec.name in last) for spec, detail in pairs)

    def _port(self, spec: TensorSpec, detail: Mapping[str, Any], is_last: bool) -> _Port:
        found = np.dtype(detail["dtype"])
        is_shifted = spec.data_type == "uint8" and found == np.int8
        shape = tuple(int(size) for size in detail["shape"])
        wanted = spec.graph_shape
        if is_last and len(wanted) == 4:
            wanted = (wanted[0], wanted[2], wanted[3], wanted[1])
        if shape != wanted or not (is_shifted or found == np.dtype(spec.data_type)):
            raise ModelError(
                f"{self.file}: {spec.name!r} is {found} {list(shape)}, the manifest says "
                f"{spec.data_type} {list(wanted)}; build the bundle again"
            )
        return _Port(spec, int(detail["index"]), is_last, is_shifted)
