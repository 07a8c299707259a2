"""Our codec on the tensors of a cut: fitted to calibration inputs, as the partitioner fits a plan.

Steps, zero points, predictors and the order of channels come from calibration inputs alone. What is
measured is what the product runs: symbols as the head's stage makes them, coded as a frame's are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from isthmus import (
    Coded,
    SymbolCoder,
    Symbols,
    quantised,
)
from isthmus.prediction import predicted, restored
from isthmus_bench.wire.weighing import AnyArray
from isthmus_partitioner import PlanConfig
from isthmus_partitioner.wire.ladder import best_order, best_predictor, wire_ladder
from isthmus_partitioner.wire.transform import Transform

__all__ = ["OurTensor", "SymbolsCodec", "fitted"]

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class OurTensor:
    """How one tensor of a cut crosses: the order of its channels, and its ladder."""

    transform: Transform
    ladder: tuple[Symbols, ...]

    def symbols(self, values: FloatArray, rung: int) -> UInt8Array:
        """What is coded of values [n,*shape]."""
        return quantised(self.transform.forward(values), self.ladder[rung])

    def values(self, symbols: UInt8Array, rung: int) -> FloatArray:
        """What the tail gets of symbols [n,*shape]."""
        encoding = self.ladder[rung]
        sent = (symbols.astype(np.float32) - encoding.zero_point) * np.float32(encoding.step)
        return self.transform.backward(sent)


def fitted(calibration: FloatArray, steps: Sequence[float] = PlanConfig().steps) -> OurTensor:
    """Fit to a tensor's values [n,*shape] on calibration inputs."""
    plain = wire_ladder(calibration, steps, None)
    middle = plain[len(plain) // 2]
    transform = best_order(quantised(calibration, middle), middle.levels, blank=middle.zero_point)
    sent = transform.forward(calibration)
    ladder = (
        msgspec.structs.replace(
            encoding,
            predictor=best_predictor(
                quantised(sent, encoding), encoding.levels, blank=encoding.zero_point
            ),
        )
        for encoding in wire_ladder(sent, steps, None)
    )
    return OurTensor(transform, tuple(ladder))


class SymbolsCodec:
    """The wire's codec of symbols at one rung, to be weighed beside the rivals."""

    def __init__(self, encoding: Symbols) -> None:
        self._encoding, self._coder = encoding, SymbolCoder()
        self._coded: dict[
            int, Coded
        ] = {}  # by identity: a payload's header, which the frame carries

    def encode(self, item: AnyArray) -> bytes:
        """The payload of one item of symbols."""
        encoding = self._encoding
        symbols = predicted(cast(UInt8Array, item), encoding.predictor, encoding.levels)
        coded = self._coder.encode(symbols, encoding.levels, blank=self._blank)
        self._coded[id(coded.data)] = coded
        return coded.data

    def decode(self, payload: bytes, like: AnyArray) -> AnyArray:
        """The symbols again."""
        encoding = self._encoding
        flat = self._coder.decode(
            self._coded[id(payload)], like.size, encoding.levels, blank=self._blank
        )
        return restored(flat.reshape(like.shape), encoding.predictor, encoding.levels)

    @property
    def _blank(self) -> int:
        return self._encoding.zero_point if self._encoding.predictor == "none" else 0
