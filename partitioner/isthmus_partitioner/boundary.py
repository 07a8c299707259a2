"""The integer tensor at a cut, and the steps in which it may cross the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from isthmus import Quantisation, Symbols
from isthmus_partitioner.config import UInt8Array
from isthmus_partitioner.cuts import CutPoint
from isthmus_partitioner.surgery import initialisers

__all__ = ["Boundary", "boundaries", "quantised", "wire_ladder"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where one segment of the chain ends and the next begins.

    `symbols` is the uint8 tensor that stands for the cut's float tensor; `is_new` if the head
    network does not have it yet (the cut lies in its fp32 part).
    """

    cut: CutPoint
    symbols: str
    quantisation: Quantisation
    is_new: bool


def boundaries(
    head: onnx.ModelProto,
    cuts: tuple[CutPoint, ...],
    ranges: Mapping[str, tuple[float, float]],
) -> tuple[Boundary, ...]:
    """The boundary of every cut at which the head network can be divided, in order."""
    constants = initialisers(head.graph)
    made = {name for node in head.graph.node for name in node.output}
    quantisers = {n.input[0]: n for n in head.graph.node if n.op_type == "QuantizeLinear"}
    found = []
    for cut in cuts:
        node = quantisers.get(cut.tensor)
        if node is not None:
            scale, zero_point = (numpy_helper.to_array(constants[n]) for n in node.input[1:3])
            known = Quantisation(scale=float(scale), zero_point=int(zero_point))
            found.append(Boundary(cut, node.output[0], known, is_new=False))
        elif cut.tensor in made and cut.tensor in ranges:
            low, high = ranges[cut.tensor]
            name = f"{cut.tensor}_isthmus_symbols"
            found.append(Boundary(cut, name, _covering(low, high), is_new=True))
    return tuple(found)


def _covering(low: float, high: float) -> Quantisation:
    """256 steps from `low` to `high`, zero among them."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max((high - low) / 255, 1e-12)))
    return Quantisation(scale=scale, zero_point=round(-low / scale))


def quantised(values: FloatArray, quantisation: Quantisation) -> UInt8Array:
    """What QuantizeLinear gives: round to even, saturate."""
    symbols = np.rint(values / np.float32(quantisation.scale)) + quantisation.zero_point
    clipped: UInt8Array = np.clip(symbols, 0, 255).astype(np.uint8)
    return clipped


def wire_ladder(values: FloatArray, quantisation: Quantisation) -> tuple[Symbols, Symbols]:
    """The finer and the coarser encoding of a cut tensor, from its values on calibration data.

    Steps of a quarter and half a standard deviation; more than 256 or 16 levels would carry
    noise. A step below the tensor's own would carry nothing more.
    """
    sigma = float(values.std())
    is_signed = float(values.min()) < 0
    finer = _encoding(256, max(sigma / 4, quantisation.scale), is_signed=is_signed)
    coarser = _encoding(16, max(sigma / 2, quantisation.scale), is_signed=is_signed)
    return finer, coarser


def _encoding(levels: Literal[16, 256], step: float, *, is_signed: bool) -> Symbols:
    # Both sides compute with the float32 that crosses the wire.
    zero_point = levels // 2 if is_signed else 0
    return Symbols(levels=levels, step=float(np.float32(step)), zero_point=zero_point)
