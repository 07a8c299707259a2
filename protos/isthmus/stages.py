"""The last step of a head: from a boundary tensor to what crosses the wire, in numpy.

Of integers only the channels' order changes; a table makes symbols of them afterwards. Of floats::

    boundary -> [order | projection] -> divide by step, round to even, add zero point, clip

A cut tensor is small, so that numpy takes no longer over it than a runtime's session would, which
each stage would have to hold. While a scene stands still (`hold` > 0) a value within `hold` steps
of its `previous` symbol keeps that symbol.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from isthmus.errors import BundleError
from isthmus.manifest import (
    CutTensor,
    Stage,
)
from isthmus.tensors import (
    Encoding,
    Quantisation,
    Symbols,
)

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]
AnyArray = NDArray[np.generic]

_MAGIC = b"\x93NUMPY\x01\x00"

__all__ = ["ReadyStage", "open_stage", "quantised", "write_projection"]


def quantised(values: FloatArray, encoding: Symbols) -> UInt8Array:
    """Symbols of values as ONNX's QuantizeLinear makes them: round to even, saturate."""
    symbols = np.divide(values, np.float32(encoding.step))
    np.rint(symbols, out=symbols)
    symbols += np.float32(encoding.zero_point)
    np.clip(symbols, 0, encoding.levels - 1, out=symbols)
    return symbols.astype(np.uint8, order="C")


class ReadyStage:
    """A stage with its projection in memory: rows [K,C+1], the last column what is added."""

    def __init__(self, stage: Stage, *, quantises: bool, projection: FloatArray | None) -> None:
        self._quantises = quantises
        self._order = np.asarray(stage.order, np.intp) if stage.order else None
        self._projection = projection
        self._held = stage.held

    def wire(
        self,
        boundary: AnyArray,
        encoding: Encoding,
        previous: UInt8Array | None = None,
        hold: float = 0.0,
    ) -> AnyArray:
        """The wire tensor of boundary [N,C,...], in C order; `previous` is of the same shape."""
        if not self._quantises or not isinstance(encoding, Symbols):
            return self._ordered(boundary)
        values = self._sent(boundary)
        fresh = quantised(values, encoding)
        if previous is None or not hold > 0:
            return fresh
        step = np.float32(encoding.step)
        before = (previous.astype(np.float32) - np.float32(encoding.zero_point)) * step
        stays = np.abs(values - before) <= step * np.float32(hold)
        stuck: UInt8Array = np.where(stays, previous, fresh)
        return stuck

    def _ordered(self, boundary: AnyArray) -> AnyArray:
        if self._order is None:
            return np.ascontiguousarray(boundary)
        return np.take(boundary, self._order, axis=1)  # in C order, unlike an index

    def _sent(self, boundary: AnyArray) -> FloatArray:
        """What is quantised."""
        if self._projection is None:
            return self._ordered(boundary).astype(np.float32, copy=False)
        flat = _real(boundary, self._held).reshape(*boundary.shape[:2], -1)
        sent: FloatArray = np.matmul(self._projection[:, :-1], flat)
        sent += self._projection[:, -1:]
        return sent.reshape(boundary.shape[0], -1, *boundary.shape[2:])


def _real(boundary: AnyArray, held: Quantisation | None) -> FloatArray:
    values = boundary.astype(np.float32)
    return values if held is None else (values - held.zero_point) * np.float32(held.scale)


def open_stage(folder: Path, tensor: CutTensor) -> ReadyStage | None:
    """The stage of a cut tensor of the bundle in `folder`; None if it crosses as the chain has it.

    BundleError if the projection is not what the manifest announces.
    """
    stage = tensor.stage
    if stage is None:
        return None
    projection = None
    if stage.projection is not None:
        shape = (tensor.wire.graph_shape[1], tensor.boundary.graph_shape[1] + 1)
        projection = _read_projection(folder / stage.projection, shape)
    return ReadyStage(stage, quantises=tensor.quantisation is None, projection=projection)


def write_projection(path: Path, projection: FloatArray) -> None:
    """Write the rows [K,C+1] of a projection where `open_stage` finds them."""
    with path.open("wb") as file:
        npy.write_array(file, np.ascontiguousarray(projection, "<f4"), version=(1, 0))


def _read_projection(path: Path, shape: tuple[int, int]) -> FloatArray:
    """Header and size are compared before memory is taken for what the manifest announces."""
    try:
        with path.open("rb") as file:
            _check_header(file, shape)
            wanted, left = 4 * shape[0] * shape[1], os.fstat(file.fileno()).st_size - file.tell()
            if left != wanted:
                raise ValueError(f"{left} bytes of numbers, announced were {wanted}")
            data = file.read(wanted)
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{path}: no projection of channels ({error}); build the bundle again"
        ) from error
    return np.frombuffer(data, "<f4").reshape(shape)


def _check_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    """ValueError unless it is the one that numpy writes for float32 of this shape.

    Nothing is parsed: numpy's reader evaluates what stands there, and raises all sorts of errors.
    """
    start = file.read(len(_MAGIC) + 2)
    if len(start) < len(_MAGIC) + 2 or not start.startswith(_MAGIC):
        raise ValueError("of an unknown format")
    (length,) = struct.unpack("<H", start[len(_MAGIC) :])
    header = file.read(length).decode("latin1").strip()
    wanted = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    if header != wanted:
        raise ValueError(f"it begins with {header[:80]!r}, announced was float32 {list(shape)}")
