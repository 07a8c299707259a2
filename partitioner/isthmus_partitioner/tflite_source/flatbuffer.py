"""The flatbuffer of a TFLite file, read with LiteRT's own schema and believed in nothing.

Python's flatbuffers do not verify. Reads beyond the end raise, in exceptions of many kinds, which
`read_source` alone translates; what a count could make large is checked before it is followed.
"""

import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from isthmus import ModelError
from isthmus_partitioner.tflite_source.records import Quantisation, Source, SourceOp, SourceTensor
from isthmus_partitioner.tflite_source.sparse import dense_values

__all__ = ["IDENTIFIER", "read_source"]

IDENTIFIER = b"TFL3"  # at byte 4
_LARGEST_FILE = 2**31 - 1  # offsets are 32 bits, signed in places
_LARGEST_TENSOR = 1 << 30
_LARGEST_INPUTS = 1 << 28  # of all together: several items are made up of them
_MOST_ITEMS = 65_536  # tensors, buffers, operations
_MOST_ARGUMENTS = 4096  # of one operation
_MOST_REFERENCES = 1_000_000
_MOST_DIMENSIONS = 8
_MOST_SHARED = 4
_LONGEST_NAME = 200

_STUMBLES = (
    struct.error, IndexError, KeyError, ValueError, TypeError, OverflowError, AttributeError,
)  # fmt: skip

_KINDS = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.FLOAT64: np.float64,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
    schema.TensorType.BOOL: np.bool_,
}
_TYPE_NAMES = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
_OP_NAMES: dict[int, str] = {
    v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)
}
_CALLING = frozenset({"CALL", "CALL_ONCE", "IF", "STABLEHLO_COMPOSITE", "VAR_HANDLE", "WHILE"})
_WAY_OUT = "convert the model to ONNX where it was trained, or serve it whole"


def read_source(path: Path) -> Source:
    """Read the graph of a .tflite file.

    Raises ModelError that names the file if it cannot be read, is damaged or truncated, or holds
    what cannot be imported: several subgraphs, custom operations, open sizes.
    """
    content = _content(path)
    try:
        return _read(path, content)
    except _STUMBLES as error:
        raise ModelError(
            f"{path}: a damaged TFLite file, or not all of it ({error}); copy or convert it again"
        ) from error


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise ModelError(
                f"{path}: {size:,} bytes, more than a TFLite file can have; {_WAY_OUT}"
            )
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"{path}: cannot be read ({reason}); name a .tflite file") from error
    if content[4:8] != IDENTIFIER:
        raise ModelError(f"{path}: not a TFLite file; name a .tflite or an .onnx file")
    return content


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    content: bytes
    model: Any


def _read(path: Path, content: bytes) -> Source:
    model = schema.Model.GetRootAs(content, 0)
    if model.SubgraphsLength() != 1:
        raise ModelError(f"{path}: {_why_several(model)}, needed: one graph; {_WAY_OUT}")
    graph = model.Subgraphs(0)
    for what, count in (
        ("tensors", graph.TensorsLength()),
        ("buffers", model.BuffersLength()),
        ("operations", graph.OperatorsLength()),
        ("kinds of operation", model.OperatorCodesLength()),
    ):
        if count > _MOST_ITEMS:
            raise ModelError(f"{path}: states {count:,} {what}; allowed: {_MOST_ITEMS:,}")
    tensors = tuple(_tensors(_File(path, content, model), graph))
    ops = tuple(_ops(model, graph, path))
    inputs, outputs = (
        tuple(_numbers(vector)) for vector in (graph.InputsAsNumpy(), graph.OutputsAsNumpy())
    )
    digest = hashlib.sha256(content).hexdigest()
    source = Source(path, digest, len(content), tensors, ops, inputs, outputs)
    _check_references(source)
    _check_inputs(source)
    return source


def _why_several(model: Any) -> str:
    """Control flow, or several signatures; the operations that call other graphs are named."""
    count = min(model.OperatorCodesLength(), _MOST_ITEMS)
    codes = (model.OperatorCodes(index) for index in range(count))
    kinds = {_kind(code) for code in codes} & _CALLING
    why = f" ({', '.join(sorted(kinds))})" if kinds else ""
    return f"has {model.SubgraphsLength()} subgraphs{why}"


def _kind(code: Any) -> str:
    number = int(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
    return _OP_NAMES.get(number, f"builtin {number}")


def _tensors(file: _File, graph: Any) -> Iterator[SourceTensor]:
    ends = {*_numbers(graph.InputsAsNumpy()), *_numbers(graph.OutputsAsNumpy())}
    taken: set[str] = set()
    total = 0
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        name = _name(tensor.Name(), index, whole=index in ends)
        while name in taken:
            name = f"{name}_{index}"
        taken.add(name)
        made = _tensor(tensor, name, file)
        total += 0 if made.content is None else made.content.nbytes
        _check_weights(total, file)
        yield made


def _name(stated: bytes | None, index: int, whole: bool) -> str:
    """What fused operations are called is a list of names: the last says what it is."""
    text = (stated or b"").decode("utf-8", "replace")
    name = text if whole else text.split(";")[-1]
    name = "".join(letter if letter.isprintable() else "_" for letter in name)
    return name[:_LONGEST_NAME] or f"tensor_{index}"


def _tensor(tensor: Any, name: str, file: _File) -> SourceTensor:
    path = file.path
    kind = _KINDS.get(tensor.Type())
    if kind is None:
        stated = _TYPE_NAMES.get(tensor.Type(), tensor.Type())
        raise ModelError(f"{path}: tensor {name!r} is of type {stated}; {_WAY_OUT}")
    shape = tuple(_numbers(tensor.ShapeAsNumpy()))
    signature = tuple(_numbers(tensor.ShapeSignatureAsNumpy())) or shape
    dtype = np.dtype(kind)
    _check_shape(shape, signature, dtype.itemsize, name, path)
    content = _constant(tensor.Buffer(), file, f"{path}: {name!r}")
    needed = math.prod(shape) * dtype.itemsize
    if content is not None and tensor.Sparsity() is not None:
        _check_weights(needed, file)
        stored = np.frombuffer(content, dtype)
        content = memoryview(dense_values(tensor.Sparsity(), stored, shape).tobytes())
    if content is not None and content.nbytes != needed:
        raise ModelError(
            f"{path}: {name!r} has {content.nbytes:,} bytes, not {needed:,}; copy the file again"
        )
    return SourceTensor(
        name=name,
        shape=shape,
        kind=dtype,
        batches=signature[:1] == (-1,),
        quantisation=_quantisation(tensor.Quantization(), shape, name, path),
        content=content,
    )


def _check_shape(
    shape: Sequence[int], signature: Sequence[int], itemsize: int, name: str, path: Path
) -> None:
    if len(shape) > _MOST_DIMENSIONS or min(shape, default=1) < 1:
        raise ModelError(f"{path}: tensor {name!r} has the shape {list(shape)[:12]}; {_WAY_OUT}")
    if len(signature) != len(shape) or -1 in signature[1:]:
        raise ModelError(
            f"{path}: tensor {name!r} has a size that is only known at run time "
            f"({list(signature)[:12]}); fix it where the model is converted"
        )
    if math.prod(shape) * itemsize > _LARGEST_TENSOR:
        raise ModelError(f"{path}: tensor {name!r} would have {list(shape)}: more than 1 GiB")


def _quantisation(stated: Any, shape: Sequence[int], name: str, path: Path) -> Quantisation | None:
    if stated is None or stated.ScaleIsNone() or stated.ScaleLength() == 0:
        return None
    scales = np.asarray(stated.ScaleAsNumpy(), np.float32)
    zero_points = np.zeros(1, np.int64)
    if not stated.ZeroPointIsNone() and stated.ZeroPointLength():
        zero_points = np.asarray(stated.ZeroPointAsNumpy(), np.int64)
    axis = stated.QuantizedDimension() if scales.size > 1 else 0
    fits = scales.size == 1 or (0 <= axis < len(shape) and shape[axis] == scales.size)
    if stated.DetailsType() or not fits or zero_points.size not in {1, scales.size}:
        raise ModelError(f"{path}: tensor {name!r} is quantised in a way not known; {_WAY_OUT}")
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ModelError(f"{path}: tensor {name!r} has scales that are not above 0; {_WAY_OUT}")
    return Quantisation(scales, np.broadcast_to(zero_points, scales.shape), axis)


def _constant(index: int, file: _File, what: str) -> memoryview | None:
    """The bytes of buffer `index`, if there are any."""
    if not 0 <= index < file.model.BuffersLength():
        raise ModelError(f"{what} lies in buffer {index}, which is not there; copy the file again")
    buffer = file.model.Buffers(index)
    if buffer.Offset() > 1:  # newer converters put weights behind the flatbuffer
        start, size = buffer.Offset(), buffer.Size()
        data = memoryview(file.content)[start : start + size]
    elif buffer.DataIsNone():
        return None
    else:
        data, size = memoryview(buffer.DataAsNumpy()), buffer.DataLength()
    if data.nbytes != size:
        raise ModelError(f"{what} has {data.nbytes:,} bytes, not {size:,}; copy the file again")
    return data if size else None


def _ops(model: Any, graph: Any, path: Path) -> Iterator[SourceOp]:
    for index in range(graph.OperatorsLength()):
        op = graph.Operators(index)
        code = model.OperatorCodes(op.OpcodeIndex())
        if op.OpcodeIndex() >= model.OperatorCodesLength():
            raise ModelError(f"{path}: operation {index} is of a kind not listed; copy it again")
        kind = _kind(code)
        if kind == "CUSTOM":
            custom = (code.CustomCode() or b"").decode("utf-8", "replace")[:_LONGEST_NAME]
            raise ModelError(f"{path}: operation {index} is the custom {custom!r}; {_WAY_OUT}")
        inputs, outputs = (
            tuple(_numbers(vector)) for vector in (op.InputsAsNumpy(), op.OutputsAsNumpy())
        )
        options = schema.BuiltinOptionsCreator(op.BuiltinOptionsType(), op.BuiltinOptions())
        yield SourceOp(index, kind, inputs, outputs, options)


def _check_references(source: Source) -> None:
    """Every tensor that is read was made before; none is made twice."""
    path, count = source.path, len(source.tensors)
    made = {i for i, tensor in enumerate(source.tensors) if tensor.content is not None}
    if not source.inputs or not source.outputs:
        raise ModelError(f"{path}: has no input or no output; {_WAY_OUT}")
    if sum(len(op.inputs) + len(op.outputs) for op in source.ops) > _MOST_REFERENCES:
        raise ModelError(f"{path}: its operations have too many arguments; {_WAY_OUT}")
    steps: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = [("the graph", (), source.inputs)]
    for op in source.ops:
        reads = tuple(index for index in op.inputs if index != -1)  # -1: left out
        steps.append((f"operation {op.index} ({op.kind})", reads, op.outputs))
    for who, reads, makes in (*steps, ("the graph", source.outputs, ())):
        for index in reads:
            if index not in made:
                raise ModelError(f"{path}: {who} reads tensor {index}, which nothing made before")
        if any(not 0 <= i < count or i in made for i in makes) or len(set(makes)) < len(makes):
            raise ModelError(f"{path}: {who} makes a tensor that is not there, or there already")
        made.update(makes)


def _check_inputs(source: Source) -> None:
    inputs = [source.tensors[index] for index in source.inputs]
    total = sum(math.prod(tensor.shape) * tensor.kind.itemsize for tensor in inputs)
    if total > _LARGEST_INPUTS:
        raise ModelError(
            f"{source.path}: states inputs of {total:,} bytes for one item; allowed: "
            f"{_LARGEST_INPUTS:,}; {_WAY_OUT}"
        )


def _check_weights(nbytes: int, file: _File) -> None:
    """Tensors may share a buffer or be sparse, but no small file becomes a large network."""
    size = len(file.content)
    if nbytes > _MOST_SHARED * size:
        raise ModelError(
            f"{file.path}: {size:,} bytes that state {nbytes:,} bytes of weights; {_WAY_OUT}"
        )


def _numbers(vector: Any, most: int = _MOST_ARGUMENTS) -> list[int]:
    """A vector of the schema, which is the number 0 where it is left out."""
    if isinstance(vector, int):
        return []
    if vector.size > most:
        raise ValueError(f"a list of {vector.size:,} numbers")
    return [int(value) for value in vector]
