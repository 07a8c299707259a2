"""Outputs on their way down: whole, or only the greatest values of a row."""

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import WireError
from isthmus.lossless import raw_bytes, raw_values
from isthmus.tensors import (
    DataType,
    TensorSpec,
)
from isthmus.v1 import split_pb2 as pb

__all__ = ["answer_bytes", "decode_answer", "encode_answer", "left_to_answer"]

AnyArray = NDArray[np.generic]
_TOP_K_ITEM_BYTES = 8  # index and value

_DATA_TYPES: dict[DataType, pb.DataType] = {
    "bool": pb.DATA_TYPE_BOOL,
    "uint8": pb.DATA_TYPE_UINT8,
    "int8": pb.DATA_TYPE_INT8,
    "int32": pb.DATA_TYPE_INT32,
    "int64": pb.DATA_TYPE_INT64,
    "float16": pb.DATA_TYPE_FLOAT16,
    "float32": pb.DATA_TYPE_FLOAT32,
    "float64": pb.DATA_TYPE_FLOAT64,
}


def left_to_answer(outputs: Iterable[TensorSpec], known: Collection[str]) -> list[TensorSpec]:
    """The outputs that the cloud computes where a head has computed those in `known` already."""
    return [spec for spec in outputs if spec.name not in known]


def answer_bytes(outputs: Iterable[TensorSpec], top_k: int) -> int:
    """Payload bytes of these outputs on the way down, as `encode_answer` writes them."""
    return sum(
        _TOP_K_ITEM_BYTES * top_k if 0 < top_k < spec.size and _is_row(spec) else spec.nbytes
        for spec in outputs
    )


def encode_answer(spec: TensorSpec, output: AnyArray, top_k: int) -> pb.Tensor:
    """An output of `spec.graph_shape` for the way down.

    `top_k` > 0 sends only the greatest values of a row: of a float32 output of one dimension, the
    batch aside. On a thin link 1000 probabilities (4 KB) cost as much as the cut tensor itself.
    """
    message = pb.Tensor(name=spec.name, data_type=_DATA_TYPES[spec.data_type], shape=output.shape)
    if 0 < top_k < output.size and _is_row(spec):
        row = output.reshape(-1)
        best = np.argsort(row)[::-1][:top_k]
        message.encoding, message.top_k = pb.ENCODING_TOP_K, top_k
        message.payload = best.astype("<u4").tobytes() + row[best].astype("<f4").tobytes()
    else:
        message.encoding = pb.ENCODING_RAW
        message.payload = raw_bytes(output)
    return message


def decode_answer(message: pb.Tensor, spec: TensorSpec) -> AnyArray:
    """The output, of `spec.graph_shape`; after `top_k`, values that were not sent read -inf.

    Raises WireError that names the output, for all that is not as the plan says.
    """
    shape = spec.graph_shape
    if message.name != spec.name:
        raise WireError(f"output {message.name!r} came where the plan has {spec.name!r}")
    if tuple(message.shape) != shape or message.data_type != _DATA_TYPES[spec.data_type]:
        raise WireError(f"output {spec.name!r}: {tuple(message.shape)}, the plan says {shape}")
    if message.encoding == pb.ENCODING_TOP_K and _is_row(spec):
        return _scatter(message, spec).reshape(shape)
    if message.encoding != pb.ENCODING_RAW:
        raise WireError(f"output {spec.name!r}: encoding {message.encoding} is not one of its own")
    try:
        return raw_values(message.payload, spec)
    except WireError as error:
        raise WireError(f"output {spec.name!r}: {error}") from error


def _is_row(spec: TensorSpec) -> bool:
    return spec.data_type == "float32" and len(spec.shape) == 1


def _scatter(message: pb.Tensor, spec: TensorSpec) -> NDArray[np.float32]:
    k, size = message.top_k, spec.size
    if not 0 < k <= size or len(message.payload) != 8 * k:
        raise WireError(
            f"output {spec.name!r}: {len(message.payload)} bytes for {k} of its {size} values"
        )
    indices = np.frombuffer(message.payload, "<u4", count=k)
    if indices.max() >= size:
        raise WireError(f"output {spec.name!r}: an index lies outside of its {size} values")
    row = np.full(size, -np.inf, np.float32)
    row[indices] = np.frombuffer(message.payload, "<f4", offset=4 * k)
    return row
