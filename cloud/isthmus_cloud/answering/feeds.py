"""What a tail is fed: each wire tensor of its cut and, where symbols cross, what they stand for."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from isthmus import Cut, CutTensor, Encoding, Symbols

__all__ = ["AnyArray", "Scalars", "blank_feeds", "feeds_of", "scalars_of"]

AnyArray = NDArray[np.generic]
Scalars = tuple[AnyArray, ...]  # step float32 [] and zero point uint8 []; () where not quantised


def scalars_of(tensor: CutTensor, encoding: Encoding) -> Scalars:
    """Step and zero point: value = (symbol - zero_point) * step."""
    if isinstance(encoding, Symbols):
        return _pair(encoding.step, encoding.zero_point)
    if tensor.quantisation is not None:
        return _pair(tensor.quantisation.scale, tensor.quantisation.zero_point)
    return ()


def feeds_of(tensors: Sequence[AnyArray], scalars: Sequence[Scalars]) -> list[AnyArray]:
    """The inputs of a tail in its own order."""
    pairs = zip(tensors, scalars, strict=True)
    return [feed for tensor, beside in pairs for feed in (tensor, *beside)]


def blank_feeds(cut: Cut) -> list[AnyArray]:
    """Zeros in the place of a frame: they say what a tail of this cut takes, and warm it."""
    return [feed for tensor in cut.tensors for feed in _blank(tensor)]


def _blank(tensor: CutTensor) -> Iterator[AnyArray]:
    yield np.zeros(tensor.wire.graph_shape, tensor.wire.data_type)
    if tensor.is_quantised:
        yield from _pair(1.0, 0)


def _pair(step: float, zero_point: int) -> Scalars:
    return np.array(step, np.float32), np.array(zero_point, np.uint8)
