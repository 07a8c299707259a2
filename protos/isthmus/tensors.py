"""Tensors and how they cross the wire: the words that manifest, codec and kits share."""

import math
from typing import Literal

import msgspec

DataType = Literal["bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64"]
Levels = Literal[16, 256]
PictureFormat = Literal["jpeg", "webp", "avif"]
Predictor = Literal["none", "left", "up"]

__all__ = [
    "DataType",
    "Encoding",
    "Levels",
    "Lossless",
    "Picture",
    "PictureFormat",
    "Predictor",
    "Quantisation",
    "Raw",
    "Record",
    "Symbols",
    "TensorSpec",
]

_ITEM_BYTES: dict[DataType, int] = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
}


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frozen, and strict about its keys: a key nobody knows is an error, not a silence."""


class TensorSpec(Record, frozen=True):
    """One tensor of one item: `shape` leaves out the batch dimension, which is `batch_axis`.

    `batch_axis` is None for a tensor that has no batch dimension of its own (a sampling rate, a
    tensor into whose first dimension the batch was folded): it goes into the graph as it is, and
    frames of it cannot be joined.
    """

    name: str
    data_type: DataType
    shape: tuple[int, ...]
    batch_axis: int | None = 0

    @property
    def graph_shape(self) -> tuple[int, ...]:
        """The shape in the graph, for a batch of one."""
        if self.batch_axis is None:
            return self.shape
        return (*self.shape[: self.batch_axis], 1, *self.shape[self.batch_axis :])

    @property
    def size(self) -> int:
        """Number of elements of one item."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of one item in memory."""
        return self.size * _ITEM_BYTES[self.data_type]


class Quantisation(Record, frozen=True):
    """How a uint8 tensor stands for real numbers: value = (q - zero_point) * scale."""

    scale: float
    zero_point: int


class Raw(Record, frozen=True, tag="raw", tag_field="kind"):
    """The tensor's own bytes."""


class Lossless(Record, frozen=True, tag="lossless", tag_field="kind"):
    """The tensor's own bytes, entropy coded: for ids, masks and whatever must not be quantised."""


class Picture(Record, frozen=True, tag="picture", tag_field="kind"):
    """A uint8 picture [H,W,3] in a picture format; `quality` 1-100, None for lossless (WebP)."""

    format: PictureFormat
    quality: int | None


class Symbols(Record, frozen=True, tag="symbols", tag_field="kind"):
    """Uniformly quantised symbols: value = (symbol - zero_point) * step, `levels` of them.

    With a `predictor`, each symbol of a key frame is sent as its difference to the neighbour on
    the left or above (modulo `levels`).
    """

    levels: Levels
    step: float
    zero_point: int
    predictor: Predictor = "none"


Encoding = Raw | Lossless | Picture | Symbols
