"""From the head's own integers to wire symbols by table, without a float detour.

A head in int8 ends in uint8 values with a scale of its own; the wire's step is coarser. All that
can happen to one of 256 values fits in a table, and so does all that a *sticky* quantiser does with
one of 256 values and the symbol before it: it keeps that symbol unless the value has moved further
than a share of a step, so that the noise of a camera does not become bytes.
"""

import numpy as np
from numpy.typing import NDArray

from isthmus.tensors import (
    Quantisation,
    Symbols,
)

__all__ = ["Requantiser", "requantise_table"]

UInt8Array = NDArray[np.uint8]


def requantise_table(source: Quantisation, target: Symbols) -> UInt8Array:
    """All 256 values of a uint8 tensor as symbols of the wire's coarser step."""
    symbols = np.rint(_real(source) / target.step) + target.zero_point
    table: UInt8Array = np.clip(symbols, 0, target.levels - 1).astype(np.uint8)
    return table


class Requantiser:
    """Makes symbols of one source at one step, over and over."""

    def __init__(self, source: Quantisation, target: Symbols) -> None:
        self._source, self._target = source, target
        self._table = requantise_table(source, target)
        self._sticky: dict[float, UInt8Array] = {}

    def symbols(self, values: UInt8Array) -> UInt8Array:
        """The symbols of uint8 `values` of any shape."""
        return np.take(self._table, values, mode="clip")

    def sticky(self, values: UInt8Array, previous: UInt8Array, hold: float) -> UInt8Array:
        """The same, but the previous symbol where the value is within `hold` steps of it."""
        if hold not in self._sticky:
            self._sticky[hold] = self._sticky_table(hold)
        pair = values.astype(np.uint16)
        pair *= self._target.levels
        pair += previous
        return np.take(self._sticky[hold], pair, mode="clip")

    def _sticky_table(self, hold: float) -> UInt8Array:
        """By value times levels plus previous symbol."""
        target = self._target
        held = np.arange(target.levels)
        distance = np.abs(
            _real(self._source)[:, None] / target.step - (held - target.zero_point)[None, :]
        )
        table = np.where(distance <= hold, held[None, :], self._table[:, None])
        return table.astype(np.uint8).reshape(-1)


def _real(source: Quantisation) -> NDArray[np.float64]:
    integers = np.arange(256, dtype=np.float64)
    return (integers - source.zero_point) * source.scale
