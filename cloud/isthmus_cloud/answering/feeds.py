"""What a tail is fed: each wire tensor of its cut and, where symbols cross, what they stand for."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from isthmus import Cut, CutTensor, Encoding, Symbols

__all__ = ["AnyArray", "Scalars", "Tensors", "blank_feeds", "scalars_of"]

AnyArray = NDArray[np.generic]
Tensors = tuple[AnyArray, ...]  # of one frame, for each tensor of its cut
Scalars = tuple[AnyArray, ...]  # step float32 and zero point uint8, [1] or []; () if not quantised


def scalars_of(tensor: CutTensor, encoding: Encoding) -> Scalars:
    """Step and zero point: value = (symbol - zero_point) * step."""
    if isinstance(encoding, Symbols):
        return _pair(tensor, encoding.step, encoding.zero_point)
    if tensor.quantisation is not None:
        return _pair(tensor, tensor.quantisation.scale, tensor.quantisation.zero_point)
    return ()


def blank_feeds(cut: Cut, size: int = 1) -> dict[str, AnyArray]:
    """Zeros in the place of `size` frames, by name: they say what a tail takes, and warm it."""
    return {name: feed for tensor in cut.tensors for name, feed in _blank(tensor, size)}


def _blank(tensor: CutTensor, size: int) -> Iterator[tuple[str, AnyArray]]:
    shape, axis = tensor.wire.graph_shape, tensor.wire.batch_axis
    if axis is not None:
        shape = (*shape[:axis], size, *shape[axis + 1 :])
    values = [np.zeros(shape, tensor.wire.data_type)]
    if tensor.is_quantised:
        values += [
            np.tile(scalar, size) if scalar.ndim else scalar for scalar in _pair(tensor, 1, 0)
        ]
    yield from zip(tensor.feeds, values, strict=True)


def _pair(tensor: CutTensor, step: float, zero_point: int) -> Scalars:
    """[1] along the batch, [] for a tensor that has no batch axis."""
    shape = () if tensor.wire.batch_axis is None else (1,)
    return np.full(shape, step, np.float32), np.full(shape, zero_point, np.uint8)
