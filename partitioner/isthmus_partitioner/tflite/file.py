"""A TFLite file in the making: tensors, constants and operators, then bytes."""

import hashlib
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

from isthmus_partitioner.tflite.forms import AnyArray, ChannelGrid, Grid
from isthmus_partitioner.tflite.refusal import NotLoweredError
from isthmus_partitioner.tflite.schema import TensorType, schema

__all__ = ["TfliteFile"]

_VERSION = 3
_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16  # what the schema asks for and the Python generator leaves out
_LIMIT_BYTES = 1_900_000_000  # flatbuffers end at 2**31
_LAST_OLD_CODE = 127  # of operators, that fits the field that old readers know
_TYPES = {
    "float32": TensorType.FLOAT32,
    "int32": TensorType.INT32,
    "int64": TensorType.INT64,
    "int8": TensorType.INT8,
    "uint8": TensorType.UINT8,
    "bool": TensorType.BOOL,
}


class TfliteFile:
    """Collects tensors and operators in order; the same calls give the same bytes."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}
        self._buffers: list[Any] = [schema.BufferT()]
        self._by_content: dict[bytes, int] = {}
        self._names: dict[str, int] = {}
        self._bytes = 0

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        data_type: str,
        grid: Grid | ChannelGrid | None = None,
        data: AnyArray | None = None,
    ) -> int:
        """Add a tensor (a constant, with `data`); its index. A name that is taken gets a number."""
        if data_type not in _TYPES:
            raise NotLoweredError(f"tensor {name!r}: TFLite heads hold no {data_type}")
        made = schema.TensorT()
        made.shape = [int(size) for size in shape]
        made.type = _TYPES[data_type]
        made.buffer = 0 if data is None else self._buffer(data)
        if grid is not None:
            made.quantization = _quantisation(grid)
        self._tensors.append(made)
        self._name(len(self._tensors) - 1, self._free_name(name))
        return len(self._tensors) - 1

    def operator(
        self,
        code: int,
        version: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: tuple[int, object] | None = None,
    ) -> None:
        """Add an operator behind all others; an input of -1 is one that is left out."""
        made = schema.OperatorT()
        made.opcodeIndex = self._codes.setdefault((code, version), len(self._codes))
        made.inputs, made.outputs = list(inputs), list(outputs)
        if options is not None:
            made.builtinOptionsType, made.builtinOptions = options
        self._operators.append(made)

    def rename(self, index: int, name: str) -> None:
        """Give a tensor a name; whoever bears it gets another."""
        other = self._names.pop(name, None)
        self._names.pop(self._tensors[index].name.decode(), None)
        self._name(index, name)
        if other is not None and other != index:
            self._name(other, self._free_name(name))

    def serialise(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file, with these inputs and outputs in this order."""
        graph = schema.SubGraphT()
        graph.name = b"main"
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        model = schema.ModelT()
        model.version = _VERSION
        model.description = b"isthmus"
        model.subgraphs = [graph]
        model.buffers = self._buffers
        model.operatorCodes = [_code(*known) for known in self._codes]
        builder = _AlignedBuilder(1024)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def _buffer(self, data: AnyArray) -> int:
        content = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        key = hashlib.sha256(content.data).digest()
        if key not in self._by_content:
            self._bytes += content.size
            if self._bytes > _LIMIT_BYTES:
                raise NotLoweredError(
                    f"more than {_LIMIT_BYTES:,} bytes of constants do not fit a TFLite file; "
                    "cut the network into more segments, or keep it ONNX"
                )
            made = schema.BufferT()
            made.data = content
            self._by_content[key] = len(self._buffers)
            self._buffers.append(made)
        return self._by_content[key]

    def _name(self, index: int, name: str) -> None:
        self._names[name] = index
        self._tensors[index].name = name.encode()

    def _free_name(self, name: str) -> str:
        found, number = name, 1
        while found in self._names:
            found, number = f"{name};{number}", number + 1
        return found


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]  # untyped upstream
    """Places arrays where a runtime may map them."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        """Its names are those of flatbuffers."""
        if elemSize == 1 and numElems >= _ALIGNMENT // 4:
            alignment = _ALIGNMENT
        return super().StartVector(elemSize, numElems, alignment)


def _quantisation(grid: Grid | ChannelGrid) -> Any:
    made = schema.QuantizationParametersT()
    if isinstance(grid, Grid):
        made.scale, made.zeroPoint = [grid.step], [grid.zero_point]
        return made
    made.scale = [float(step) for step in grid.steps]
    made.zeroPoint = [0] * len(made.scale)
    made.quantizedDimension = grid.axis
    return made


def _code(code: int, version: int) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode, made.deprecatedBuiltinCode = code, min(code, _LAST_OLD_CODE)
    made.version = version
    return made
