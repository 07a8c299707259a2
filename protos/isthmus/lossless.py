"""Tensors that must arrive as they were: ids, masks, integers, unquantised floats.

Raw is the values' own bytes, C order, little endian. Lossless is smaller: the bytes of the values
are sorted by significance (all lowest bytes first), which leaves long runs where ids are small or
floats alike, and compressed with plain zstd: here matches pay. Booleans are bits. What does not
become smaller is stored.
"""

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import WireError
from isthmus.symbols import Coded, SymbolCoder
from isthmus.tensors import (
    TensorSpec,
)

__all__ = ["decode_exactly", "encode_exactly", "exact_bytes", "raw_bytes", "raw_values"]

AnyArray = NDArray[np.generic]


def exact_bytes(spec: TensorSpec) -> int:
    """Bytes of one item before compression, and the most that ever cross."""
    return (spec.size + 7) // 8 if spec.data_type == "bool" else spec.nbytes


def encode_exactly(tensor: AnyArray, coder: SymbolCoder) -> Coded:
    """Any array, by the bytes of its values."""
    plain = _planes(tensor)
    data = coder.compress_plainly(plain)
    if len(data) < plain.size:
        return Coded(data, "bytes")
    return Coded(plain.tobytes(), "bytes", stored=True)


def decode_exactly(coded: Coded, spec: TensorSpec, coder: SymbolCoder) -> AnyArray:
    """The array of `spec.graph_shape`; WireError if the payload does not hold exactly that."""
    size = exact_bytes(spec)
    plain = coded.data if coded.stored else coder.decompress(coded.data, size)
    if len(plain) != size:
        raise WireError(f"payload holds {len(plain)} bytes, expected {size}")
    flat = np.frombuffer(plain, np.uint8)
    shape = spec.graph_shape
    if spec.data_type == "bool":
        return np.unpackbits(flat, count=spec.size).view(np.bool_).reshape(shape)
    data_type = np.dtype(spec.data_type).newbyteorder("<")
    values = np.ascontiguousarray(flat.reshape(data_type.itemsize, -1).T)
    return values.view(data_type).reshape(shape)


def raw_bytes(tensor: AnyArray) -> bytes:
    """Any array's own bytes."""
    return np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).tobytes()


def raw_values(data: bytes, spec: TensorSpec) -> AnyArray:
    """The array of `spec.graph_shape` of its own bytes; WireError if they are not exactly that."""
    if len(data) != spec.nbytes:
        raise WireError(f"payload holds {len(data)} bytes, expected {spec.nbytes}")
    flat = np.frombuffer(data, np.uint8)
    if spec.data_type == "bool" and flat.max() > 1:
        raise WireError(f"payload holds {flat.max()} as a bool, which is 0 or 1")
    return flat.view(np.dtype(spec.data_type).newbyteorder("<")).reshape(spec.graph_shape)


def _planes(tensor: AnyArray) -> NDArray[np.uint8]:
    if tensor.dtype == np.bool_:
        return np.packbits(tensor.view(np.bool_))
    little = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<"))
    rows = little.reshape(-1).view(np.uint8).reshape(-1, little.itemsize)
    return np.ascontiguousarray(rows.T).reshape(-1)
