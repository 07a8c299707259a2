"""The ONNX graph of a TFLite file, operation by operation, its sizes held against the file's."""

import struct
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, shape_inference

from isthmus import ModelError
from isthmus_partitioner.graph.refusals import first_line
from isthmus_partitioner.tflite_source.canvas import Canvas
from isthmus_partitioner.tflite_source.records import Source, SourceTensor
from isthmus_partitioner.tflite_source.registry import DRAWN
from isthmus_partitioner.tflite_source.scope import Scope

__all__ = ["emit", "is_shifted"]

_BATCH = "N"
_WAY_OUT = "convert the model to ONNX where it was trained, or serve it whole"
_STUMBLES = (
    ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError, struct.error,
)  # fmt: skip


def emit(source: Source, *, rounds: bool = False) -> onnx.ModelProto:
    """The same network as ONNX, inputs and outputs by the file's names and in its layout.

    A quantised file becomes a network of real numbers: its weights dequantised, its outputs real;
    its 8-bit inputs are uint8 (int8 + 128). With `rounds`, quantised tensors are rounded as the
    file's arithmetic does it.

    Raises ModelError that names the operation that cannot be drawn.
    """
    unknown = sorted({op.kind for op in source.ops} - DRAWN.keys())
    if unknown:
        raise ModelError(
            f"{source.path}: has operations not known here ({', '.join(unknown)}); {_WAY_OUT}"
        )
    canvas = Canvas(source, rounds=rounds)
    inputs = [_input(canvas, index) for index in source.inputs]
    for op in source.ops:
        try:
            DRAWN[op.kind](Scope(canvas, op))
        except ModelError as error:
            raise ModelError(f"{source.path}: {error}") from error
        except _STUMBLES as error:
            raise ModelError(
                f"{source.path}: operation {op.index} ({op.kind}) does not fit its tensors "
                f"({first_line(error)}); convert the model again"
            ) from error
    outputs = [_output(canvas, index) for index in source.outputs]
    model = canvas.model(inputs, outputs)
    _check_sizes(model, source)
    return model


def is_shifted(tensor: SourceTensor) -> bool:
    """Whether an input is int8 in the file and uint8 here."""
    return tensor.is_quantised and tensor.kind == np.int8


def _input(canvas: Canvas, index: int) -> onnx.ValueInfoProto:
    tensor = canvas.source.tensors[index]
    if not tensor.is_quantised:
        canvas.give(index, tensor.name, "file")
        return _info(tensor, tensor.kind)
    known = tensor.quantisation
    assert known is not None
    if tensor.kind.itemsize != 1 or known.is_per_channel:
        raise ModelError(
            f"{canvas.source.path}: input {tensor.name!r} is quantised {tensor.kind}; possible: "
            f"int8 and uint8 with one scale. {_WAY_OUT}"
        )
    zero = int(known.zero_points.flat[0]) + 128 * is_shifted(tensor)
    if not 0 <= zero <= 255:
        raise ModelError(f"{canvas.source.path}: input {tensor.name!r} has a zero point too far")
    scale = canvas.constant(known.scales.reshape(()), f"{tensor.name}/scale")
    offset = canvas.constant(np.array(zero, np.uint8), f"{tensor.name}/zero")
    real = canvas.free_name(f"{tensor.name}/real")
    canvas.node("DequantizeLinear", [tensor.name, scale, offset], real)
    canvas.give(index, real, "file")
    return _info(tensor, np.dtype(np.uint8))


def _output(canvas: Canvas, index: int) -> onnx.ValueInfoProto:
    """By the file's name, whatever it is: an input passed through, or a constant."""
    tensor = canvas.source.tensors[index]
    try:
        name = canvas.take(index)
    except ModelError as error:
        raise ModelError(f"{canvas.source.path}: output {tensor.name!r}: {error}") from error
    if name != tensor.name:
        if index in canvas.source.inputs or any(tensor.name in n.output for n in canvas.nodes):
            raise ModelError(
                f"{canvas.source.path}: output {tensor.name!r} is an input too; {_WAY_OUT}"
            )
        canvas.node("Identity", [name], tensor.name)
        canvas.give(index, tensor.name, "file")
    is_real = tensor.is_quantised or tensor.kind == np.float16
    return _info(tensor, np.dtype(np.float32) if is_real else tensor.kind)


def _info(tensor: SourceTensor, kind: "np.dtype[np.generic]") -> onnx.ValueInfoProto:
    sizes: list[int | str] = list(tensor.shape)
    if tensor.batches:
        sizes[0] = _BATCH
    return helper.make_tensor_value_info(tensor.name, helper.np_dtype_to_tensor_dtype(kind), sizes)


def _check_sizes(model: onnx.ModelProto, source: Source) -> None:
    """Refuse a drawing whose sizes, as ONNX infers them for one item, are not those of the file."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    for info in (*single.graph.input, *single.graph.output):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = 1
    try:
        inferred = shape_inference.infer_shapes(
            single, check_type=True, strict_mode=True, data_prop=True
        )
    except (shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{source.path}: its operations do not fit together ({first_line(error)}); {_WAY_OUT}"
        ) from error
    stated = {tensor.name: tensor.shape for tensor in source.tensors}
    for name, sizes in _inferred(inferred.graph.value_info):
        layouts = [stated[name]] if name in stated else []
        layouts += [(s[0], s[3], s[1], s[2]) for s in layouts if len(s) == 4]
        if layouts and sizes not in layouts:
            raise ModelError(
                f"{source.path}: tensor {name!r} is {list(sizes)}, and the file says "
                f"{list(stated[name])}; convert the model again"
            )


def _inferred(
    infos: Sequence[onnx.ValueInfoProto],
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for info in infos:
        kind = info.type.tensor_type
        dims = kind.shape.dim
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            yield info.name, tuple(dim.dim_value for dim in dims)
