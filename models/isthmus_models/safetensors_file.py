"""Tensors of a .safetensors file as numpy arrays, without trusting the file.

The format: the length of a header as a little-endian uint64, the header as JSON (name -> dtype,
shape and where the bytes lie behind the header), then the bytes of all tensors.
"""

import struct
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from isthmus.errors import ModelError
from isthmus_models.state_dict import StateDict

__all__ = ["read_safetensors"]

_LENGTH = struct.Struct("<Q")
_METADATA = "__metadata__"
_TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8", "U8": "u1"}


_Size = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[_Size, ...]
    data_offsets: tuple[_Size, _Size]


def read_safetensors(path: Path) -> StateDict:
    """The arrays by name, read only, in one buffer.

    Raises ModelError for a file that is missing, truncated, or that holds anything but tensors of
    the usual types whose bytes are really there.
    """
    try:
        content = path.read_bytes()
        (length,) = _LENGTH.unpack_from(content)
        start = _LENGTH.size + length
        header = msgspec.json.decode(content[_LENGTH.size : start], type=dict[str, msgspec.Raw])
        data = memoryview(content)[start:]
        entries = {
            name: msgspec.json.decode(entry, type=_Entry)
            for name, entry in header.items()
            if name != _METADATA
        }
        return {name: _array(name, entry, data) for name, entry in entries.items()}
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); reinstall it") from error
    except (ValueError, struct.error, msgspec.MsgspecError) as error:
        raise ModelError(f"{path}: no safetensors file ({error}); reinstall it") from error


def _array(name: str, entry: _Entry, data: memoryview) -> NDArray[np.generic]:
    """ValueError if the entry does not fit the bytes."""
    if entry.dtype not in _TYPES:
        raise ValueError(f"{name!r} is of the unknown type {entry.dtype!r}")
    begin, end = entry.data_offsets
    if not begin <= end <= len(data):
        raise ValueError(f"{name!r} lies at {begin}-{end} of {len(data)} bytes")
    flat = np.frombuffer(data[begin:end], _TYPES[entry.dtype])
    return flat.reshape(entry.shape)
