"""Symbols as differences: to a neighbour in the same tensor, or to the frame before.

All arithmetic is modulo the number of levels (16 or 256), so a difference is a symbol again and
nothing is lost.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isthmus.tensors import (
    Levels,
    Predictor,
)

__all__ = ["added", "predicted", "restored", "subtracted"]

UInt8Array = NDArray[np.uint8]

_AXIS: dict[Literal["left", "up"], int] = {"left": -1, "up": -2}


def predicted(symbols: UInt8Array, predictor: Predictor, levels: Levels) -> UInt8Array:
    """Symbols [...,H,W] less their left or upper neighbour; the first column or row stays."""
    if predictor == "none":
        return symbols
    axis = _AXIS[predictor]
    result = symbols.copy()
    inner, after, before = (
        np.moveaxis(result, axis, 0)[1:],
        np.moveaxis(symbols, axis, 0)[1:],
        np.moveaxis(symbols, axis, 0)[:-1],
    )
    np.subtract(after, before, out=inner)
    return _wrapped(result, levels)


def restored(differences: UInt8Array, predictor: Predictor, levels: Levels) -> UInt8Array:
    """What `predicted` was made of."""
    if predictor == "none":
        return differences
    sums: UInt8Array = np.add.accumulate(differences, axis=_AXIS[predictor], dtype=np.uint8)
    return _wrapped(sums, levels)


def subtracted(symbols: UInt8Array, reference: UInt8Array, levels: Levels) -> UInt8Array:
    """Symbols less those of an earlier frame."""
    return _wrapped(np.subtract(symbols, reference), levels)


def added(differences: UInt8Array, reference: UInt8Array, levels: Levels) -> UInt8Array:
    """What `subtracted` was made of."""
    return _wrapped(np.add(differences, reference), levels)


def _wrapped(array: UInt8Array, levels: Levels) -> UInt8Array:
    if levels == 16:
        np.bitwise_and(array, 15, out=array)
    return array
