"""How a tensor of the ONNX graph may be held in TFLite: as reals or on a grid, in which layout."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

__all__ = ["AnyArray", "ChannelGrid", "Grid", "Layout", "Value", "laid_out"]

AnyArray = NDArray[np.generic]
SIGNED_OFFSET = 128  # u8 = i8 + 128
_LOWEST, _HIGHEST = -128, 127


class Layout(Enum):
    """PLAIN is ONNX's order of dimensions; CHANNELS_LAST is [N,H,W,C] where ONNX says [N,C,H,W]."""

    PLAIN = "plain"
    CHANNELS_LAST = "channels last"


@dataclass(frozen=True, slots=True)
class Grid:
    """The reals that an int8 tensor holds: ``step * (i8 - zero_point)``; `step` is a float32."""

    step: float
    zero_point: int

    @staticmethod
    def of(scale: AnyArray, zero_point: AnyArray) -> "Grid":
        """From scale and zero point (uint8 or int8) of a QuantizeLinear, one element each."""
        shift = SIGNED_OFFSET if zero_point.dtype == np.uint8 else 0
        return Grid(float(scale.reshape(())), int(zero_point.reshape(())) - shift)

    def symbol(self, real: float) -> int:
        """The int8 that stands for a real; what lies outside is clipped."""
        if np.isinf(real):
            return _HIGHEST if real > 0 else _LOWEST
        near = int(np.rint(real / self.step)) + self.zero_point
        return min(max(near, _LOWEST), _HIGHEST)

    def is_inside(self, low: float, high: float) -> bool:
        """Whether clipping to [low, high] changes nothing that was put on this grid."""
        return self.symbol(low) == _LOWEST and self.symbol(high) == _HIGHEST


@dataclass(frozen=True, slots=True, eq=False)
class ChannelGrid:
    """A grid around zero per channel: `steps` are float32 [channels], along dimension `axis`."""

    steps: NDArray[np.float32]
    axis: int


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the TFLite file; `shape` is its own, so [N,H,W,C] where it is channels last."""

    index: int
    shape: tuple[int, ...]
    data_type: str
    layout: Layout = Layout.PLAIN
    grid: Grid | None = None


def laid_out(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    """An ONNX shape in a layout; only four dimensions have one that is not plain."""
    if layout is Layout.PLAIN or len(shape) != 4:
        return shape
    items, channels, height, width = shape
    return (items, height, width, channels)
