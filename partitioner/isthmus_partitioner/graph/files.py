"""Models on disk: one file, or a file and its weights beside it where protobuf's 2 GB end."""

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from isthmus_partitioner.folders import whole_file

__all__ = ["INLINE_LIMIT_BYTES", "save_model", "weight_bytes"]

INLINE_LIMIT_BYTES = 1_800_000_000  # protobuf ends at 2**31, of which the graph takes a part
_ALIGNMENT = 4096  # pages: the runtime maps the file
_SMALL_BYTES = 1024  # stays in the graph, where shape inference reads it


def weight_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the model's constants, without serialising it."""
    return sum(map(_tensor_bytes, model.graph.initializer))


def save_model(
    model: onnx.ModelProto, path: Path, *, limit_bytes: int = INLINE_LIMIT_BYTES
) -> list[Path]:
    """Write a model, above `limit_bytes` of constants with these in `<name>.data` beside it.

    Returns the files that were written, each of them whole or not there. Lets OSError pass, with
    the file's name: what to do about a full disk is the caller's business. The model itself is not
    changed.
    """
    if weight_bytes(model) <= limit_bytes:
        with whole_file(path) as file:
            file.write(model.SerializeToString(deterministic=True))
        return [path]
    data = path.with_name(f"{path.name}.data")
    slim = _without_constants(model)
    with whole_file(path) as file, whole_file(data) as stream:
        for tensor in model.graph.initializer:
            kept = slim.graph.initializer.add()
            content = _content(tensor)
            if content is None:
                kept.CopyFrom(tensor)
                continue
            stream.write(b"\0" * (-stream.tell() % _ALIGNMENT))
            _refer(kept, tensor, data.name, (stream.tell(), len(content)))
            stream.write(content)
        file.write(slim.SerializeToString(deterministic=True))
    return [path, data]


def _tensor_bytes(tensor: TensorProto) -> int:
    if tensor.data_type == TensorProto.STRING:
        return sum(map(len, tensor.string_data))
    # By its shape: to look at the content would be to copy it.
    item = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    return math.prod(tensor.dims) * item


def _content(tensor: TensorProto) -> bytes | None:
    """The bytes to be put into a file of their own; None for what stays in the graph."""
    if tensor.data_type == TensorProto.STRING or _tensor_bytes(tensor) < _SMALL_BYTES:
        return None
    return bytes(tensor.raw_data) or numpy_helper.to_array(tensor).tobytes()


def _without_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of all but the constants, which are never held twice."""
    slim = onnx.ModelProto()
    _copy_fields(model, slim, "graph")
    _copy_fields(model.graph, slim.graph, "initializer")
    return slim


def _copy_fields(
    source: onnx.ModelProto | onnx.GraphProto, target: onnx.ModelProto | onnx.GraphProto, but: str
) -> None:
    for field, value in source.ListFields():
        if field.name == but:
            continue
        if hasattr(value, "MergeFrom"):
            getattr(target, field.name).MergeFrom(value)
        else:
            setattr(target, field.name, value)


def _refer(kept: TensorProto, tensor: TensorProto, name: str, place: tuple[int, int]) -> None:
    kept.name, kept.data_type = tensor.name, tensor.data_type
    kept.dims.extend(tensor.dims)
    kept.data_location = TensorProto.EXTERNAL
    for key, value in zip(("location", "offset", "length"), (name, *place), strict=True):
        kept.external_data.add(key=key, value=str(value))
