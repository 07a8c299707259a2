"""Datatypes of the protocol, and what they are called in numpy, in messages and in Triton."""

from dataclasses import dataclass

import numpy as np

from isthmus.tensors import (
    DataType,
)

BYTES = "BYTES"

__all__ = ["BYTES", "DATATYPES", "Datatype", "config_type_of", "datatype_of"]


@dataclass(frozen=True, slots=True)
class Datatype:
    """One of them. `typed_field` of `InferTensorContents` holds its values, where one does."""

    name: str
    numpy: np.dtype[np.generic]
    typed_field: str | None


def _datatype(name: str, numpy_name: str, typed_field: str | None) -> Datatype:
    # The protocol's bytes are little-endian, as is every machine that this runs on.
    return Datatype(name, np.dtype(numpy_name).newbyteorder("<"), typed_field)


DATATYPES = {
    each.name: each
    for each in (
        _datatype("BOOL", "bool", "bool_contents"),
        _datatype("UINT8", "uint8", "uint_contents"),
        _datatype("UINT16", "uint16", "uint_contents"),
        _datatype("UINT32", "uint32", "uint_contents"),
        _datatype("UINT64", "uint64", "uint64_contents"),
        _datatype("INT8", "int8", "int_contents"),
        _datatype("INT16", "int16", "int_contents"),
        _datatype("INT32", "int32", "int_contents"),
        _datatype("INT64", "int64", "int64_contents"),
        _datatype("FP16", "float16", None),
        _datatype("FP32", "float32", "fp32_contents"),
        _datatype("FP64", "float64", "fp64_contents"),
    )
}
_BY_NUMPY = {each.numpy: each for each in DATATYPES.values()}


def datatype_of(data_type: DataType) -> Datatype:
    """The protocol's word for one of the manifest's."""
    return _BY_NUMPY[np.dtype(data_type)]


def config_type_of(data_type: DataType) -> str:
    """The same in Triton's model configuration."""
    return f"TYPE_{datatype_of(data_type).name}"
